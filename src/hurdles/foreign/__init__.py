"""Models from elsewhere: the spec of one, and the doors through which it is asked."""
