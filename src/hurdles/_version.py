"""Version of the package, and the words that go with everything that it makes."""

__version__ = "0.1.0"
#: Stands in or below every output.
USE = "research use only; not a medical device"
#: The same as a sentence.
USE_SENTENCE = f"{USE.capitalize()}."
