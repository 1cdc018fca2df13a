"""Recipes: every shipped one, every message, and a key that changes with every setting."""

from __future__ import annotations

import tomllib

import pytest

from hurdles.errors import RecipeError
from hurdles.recipe.recipe import Recipe, load_recipe, shipped_recipes

MINIMAL = 'name = "x"\n'

#: Another allowed value for every field that can change a number.
OTHER = {
    "preparation.name": "equalised",
    "preparation.size": 64,
    "split.scheme": "image",
    "split.folds": 3,
    "split.repeats": 2,
    "split.fractions": (0.5, 0.25, 0.25),
    "split.seed": 7,
    "split.missing_patients": "one-each",
    "model.architecture": "inception-like",
    "model.channels": 3,
    "model.hidden": (256,),
    "model.scaling": "training",
    "model.start": "imagenet",
    "model.origin": "ab12",
    "model.freeze": ("encoder.*",),
    "augmentation.policy": "balanced",
    "augmentation.flip": 0.1,
    "augmentation.rotation": 0.1,
    "augmentation.degrees": 3.0,
    "augmentation.shift": 0.1,
    "augmentation.scale": 1.1,
    "augmentation.contrast": 0.1,
    "augmentation.label": "COVID-19",
    "augmentation.copies": 4,
    "training.epochs": 3,
    "training.batch_size": 4,
    "training.sizes": (64, 96),
    "training.loss": "focal",
    "training.gamma": 1.0,
    "training.label_smoothing": 0.1,
    "training.class_weights": "balanced",
    "training.optimiser": "sgd",
    "training.learning_rate": 0.1,
    "training.momentum": 0.9,
    "training.weight_decay": 1e-3,
    "training.epsilon": 1e-8,
    "training.schedule": "plateau",
    "training.plateau": 3,
    "training.patience": 2,
    "training.choose": "last",
    "training.choose_by": "auc",
    "training.seed": 1,
    "training.precision": "float32",
    "remedy.sampling": "source",
    "remedy.group_dro": 0.01,
    "remedy.disentangle": 0.1,
    "remedy.entangle": 0.1,
    "remedy.unit_features": True,
    "remedy.reject": 0.05,
    "remedy.reject_by": "confidence",
    "evaluation.threshold": "youden",
    "evaluation.positive": "COVID-19",
    "evaluation.level": 0.9,
    "evaluation.resamples": 100,
    "evaluation.seed": 1,
    "evaluation.prevalence": ("COVID-19=0.02",),
    "evaluation.specificity": (0.9,),
    "evaluation.sensitivity": (0.95,),
    "evaluation.benefit_at": (0.1,),
}


#: For ever: see `test_no_default_ever_changes`.
DEFAULTS = {
    "preparation.name": "raw",
    "preparation.size": 224,
    "split.scheme": "auto",
    "split.folds": 5,
    "split.repeats": 1,
    "split.fractions": [0.7, 0.15, 0.15],
    "split.seed": 0,
    "split.missing_patients": "refuse",
    "model.architecture": "baseline",
    "model.channels": 1,
    "model.hidden": [],
    "model.scaling": "none",
    "model.start": "scratch",
    "model.origin": "",
    "model.freeze": [],
    "augmentation.policy": "none",
    "augmentation.flip": 0.7,
    "augmentation.rotation": 0.7,
    "augmentation.degrees": 15.0,
    "augmentation.shift": 0.0,
    "augmentation.scale": 1.0,
    "augmentation.contrast": 0.0,
    "augmentation.label": None,
    "augmentation.copies": 0,
    "training.epochs": 30,
    "training.batch_size": 32,
    "training.sizes": [],
    "training.loss": "cross-entropy",
    "training.gamma": 2.0,
    "training.label_smoothing": 0.0,
    "training.class_weights": "none",
    "training.optimiser": "adam",
    "training.learning_rate": 0.001,
    "training.momentum": 0.0,
    "training.weight_decay": 0.0,
    "training.epsilon": 1e-07,
    "training.schedule": "constant",
    "training.plateau": 15,
    "training.patience": 0,
    "training.choose": "best",
    "training.choose_by": "accuracy",
    "training.seed": 0,
    "training.precision": "auto",
    "remedy.sampling": "none",
    "remedy.group_dro": 0.0,
    "remedy.disentangle": 0.0,
    "remedy.entangle": 0.0,
    "remedy.unit_features": False,
    "remedy.reject": 0.0,
    "remedy.reject_by": "distance",
    "evaluation.threshold": "argmax",
    "evaluation.positive": "",
    "evaluation.level": 0.95,
    "evaluation.resamples": 2000,
    "evaluation.seed": 0,
    "evaluation.prevalence": [],
    "evaluation.specificity": [0.95],
    "evaluation.sensitivity": [],
    "evaluation.benefit_at": [],
}


def written(tmp_path, text: str | bytes):
    path = tmp_path / "recipe.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.mark.parametrize("name", shipped_recipes())
class TestShipped:
    def test_it_loads_and_says_what_it_is_for(self, name):
        recipe = load_recipe(name)
        assert recipe.name == name
        assert recipe.description.endswith((".", "?"))

    @pytest.mark.parametrize("explained", [False, True])
    def test_its_toml_means_the_same(self, name, tmp_path, explained):
        recipe = load_recipe(name)
        again = load_recipe(written(tmp_path, recipe.to_toml(explained=explained)))
        assert again == recipe
        assert again.key == recipe.key

    def test_it_names_what_exists(self, name):
        from hurdles.data.sources import COLLECTIONS
        from hurdles.data.split import SCHEMES
        from hurdles.models import architectures
        from hurdles.runs.images import PHANTOM

        recipe = load_recipe(name)
        assert recipe.model.architecture in architectures()
        assert recipe.split.scheme in SCHEMES.names()
        assert recipe.data in {"", PHANTOM, *COLLECTIONS.names()}


def test_what_ships():
    assert {"demo", "small-data", "lazaro-barco-2020-baseline"} <= set(shipped_recipes())


def test_the_published_settings():
    recipe = load_recipe("lazaro-barco-2020-baseline-augmented")
    assert (recipe.training.epochs, recipe.training.batch_size) == (30, 32)
    assert (recipe.training.learning_rate, recipe.training.epsilon) == (1e-3, 1e-7)
    assert (recipe.augmentation.label, recipe.augmentation.copies) == ("COVID-19", 736)
    assert recipe.augmentation.flip == recipe.augmentation.rotation == 0.7
    assert recipe.augmentation.degrees == 15
    assert recipe.preparation.size == 224
    assert recipe.split.seed == 42


class TestKey:
    def test_names_and_words_do_not_change_it(self):
        recipe = Recipe(name="x")
        for field in ("name", "description", "data"):
            assert recipe.changed(**{field: "other"}).key == recipe.key

    @pytest.mark.parametrize("field", OTHER)
    def test_every_setting_changes_it(self, field):
        section, name = field.split(".")
        recipe = Recipe(name="x")
        if field == "remedy.unit_features":  # only of what looks at features
            recipe = recipe.changed(remedy={"entangle": 0.1})
        other = recipe.changed(**{section: {name: OTHER[field]}})
        assert getattr(getattr(other, section), name) != getattr(getattr(recipe, section), name)
        assert other.key != recipe.key

    def test_no_setting_is_forgotten_above(self):
        assert set(OTHER) | {"name", "description", "data"} == set(Recipe.explanations())

    def test_it_is_the_same_in_every_process_and_version(self):
        """Finished runs are found again by it: whoever changes it makes them all strangers."""
        recipe = Recipe(name="x").changed(training={"epochs": 3}, split={"scheme": "image"})
        assert recipe.key == ("ca42e7a285ebdbf30c10980241c85035651d918ed5b52f4d15308e1972d10705")

    def test_no_default_ever_changes(self):
        """A key leaves defaults out: another default would give two experiments one key."""
        plain = Recipe(name="x").model_dump(mode="json")
        del plain["name"], plain["description"], plain["data"]
        for section, fields in plain.items():
            for field, value in fields.items():
                assert value == DEFAULTS[f"{section}.{field}"], (section, field)

    def test_parted_by_patient_has_the_key_that_it_had_as_the_default(self):
        """Of runs before there was "auto"; "auto" itself is another experiment."""
        by_patient = Recipe(name="x", training={"epochs": 3}, split={"scheme": "patient"})
        assert by_patient.key == "5de11c23a5554c6301df5ff85da749de0b5b47e48e07b8d0c4f7b6a07e6bda60"
        seeded = by_patient.changed(split={"seed": 4})
        assert seeded.key == "c5b79bd4189bd8f3d4d30bd2ee1906ecb89d20873a53d10ee5854c19e0b9897a"
        assert Recipe(name="x", training={"epochs": 3}).key != by_patient.key

    def test_a_default_written_out_has_the_key_of_one_left_out(self):
        assert Recipe(name="x", training={"epochs": 30}).key == Recipe(name="x").key


def test_every_field_is_explained_in_a_sentence():
    for field, sentence in Recipe.explanations().items():
        assert len(sentence) > 10, field
        assert sentence.endswith("."), field


def test_the_explained_recipe_explains_every_field_that_it_writes():
    lines = load_recipe("lazaro-barco-2020-baseline-augmented").to_toml(explained=True).splitlines()
    fields = [n for n, line in enumerate(lines) if " = " in line and not line.startswith("#")]
    assert len(fields) == len(Recipe.explanations())
    assert all(lines[n - 1].startswith("# ") for n in fields)


class TestMessages:
    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("", r"name is missing"),
            (MINIMAL + "deep = " + "[" * 5000, r"is not valid TOML: maximum recursion"),
            (MINIMAL + f"[training]\nepochs = {'9' * 5000}\n", r"is not valid TOML: Exceeds"),
            (
                MINIMAL + "[trainning]\nepochs = 3\n",
                r"trainning is no section or field; known: .*"
                r"\btraining\b",
            ),
            (MINIMAL + "[training]\nepoch = 3\n", r"training\.epoch is no field; known: epochs, "),
            (MINIMAL + "[training]\nepochs = 0\n", r"training\.epochs: .*greater.*\(got 0\)"),
            (MINIMAL + '[training]\nepochs = "many"\n', r"training\.epochs: .*\(got 'many'\)"),
            (MINIMAL + "[training]\nlearning_rate = inf\n", r"learning_rate: .*finite"),
            (MINIMAL + "[training]\nlearning_rate = nan\n", r"learning_rate: "),
            (MINIMAL + "[training]\nlearning_rate = -1.0\n", r"learning_rate: .*greater than 0"),
            (MINIMAL + "[preparation]\nsize = 8\n", r"preparation\.size: .*\(got 8\)"),
            (MINIMAL + "[split]\nfractions = [0.5, 0.2, 0.2]\n", r"sum to 0\.9, not 1"),
            (MINIMAL + "[split]\nfractions = [0.5, 0.5]\n", r"split\.fractions"),
            (MINIMAL + '[split]\nmissing_patients = "guess"\n', r"'refuse' or 'one-each'"),
            (MINIMAL + '[augmentation]\npolicy = "enlarge"\n', r"needs label and copies"),
            (
                MINIMAL
                + '[augmentation]\npolicy = "enlarge"\nlabel = "x"\ncopies = 2\nshift = 0.1\n',
                r"would mark it by its borders",
            ),
            (
                MINIMAL + '[augmentation]\npolicy = "enlarge"\nlabel = "x"\ncopies = 2\n'
                '[remedy]\nsampling = "source"\n',
                r"recipe: augmentation\.policy = 'enlarge' fixes how often",
            ),
            (MINIMAL + "[remedy]\nreject = 0.9\n", r"remedy\.reject: .*\(got 0\.9\)"),
            (MINIMAL + "[augmentation]\nflip = 1.5\n", r"augmentation\.flip: .*\(got 1\.5\)"),
            (
                MINIMAL + '[evaluation]\nprevalence = ["COVID-19"]\n',
                r"evaluation\.prevalence: 'COVID-19' is no prevalence; write CLASS=P",
            ),
            (MINIMAL + "[evaluation]\nlevel = 95\n", r"evaluation\.level: .*less than 1"),
            ("training = 3\n" + MINIMAL, r"training: "),
        ],
    )
    def test_a_wrong_field_is_named_with_its_value(self, tmp_path, text, message):
        with pytest.raises(RecipeError, match=message) as caught:
            load_recipe(written(tmp_path, text))
        assert str(tmp_path) in str(caught.value)
        assert "Value error" not in str(caught.value)
        assert "\n" not in str(caught.value)

    def test_all_wrong_fields_are_named_at_once(self, tmp_path):
        text = MINIMAL + "[training]\nepochs = 0\nbatch_size = 0\n"
        with pytest.raises(RecipeError, match=r"training\.epochs.*training\.batch_size"):
            load_recipe(written(tmp_path, text))

    def test_no_toml(self, tmp_path):
        with pytest.raises(RecipeError, match=r"recipe\.toml is not valid TOML: .*line 1"):
            load_recipe(written(tmp_path, "name = \n"))

    def test_no_text(self, tmp_path):
        with pytest.raises(RecipeError, match=r"recipe\.toml is not UTF-8"):
            load_recipe(written(tmp_path, b'name = "\xff"'))

    @pytest.mark.parametrize("name", ["nosuch", "", "demo.toml", "../recipes/demo"])
    def test_an_unknown_recipe_lists_the_known(self, name, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        with pytest.raises(RecipeError, match=r"neither a file nor a shipped recipe.*demo"):
            load_recipe(name)

    def test_a_change_is_validated_too(self):
        with pytest.raises(RecipeError, match=r"training\.epochs"):
            Recipe(name="x").changed(training={"epochs": 0})
        with pytest.raises(RecipeError, match="trainning is no section"):
            Recipe(name="x").changed(trainning={"epochs": 1})


def test_a_change_leaves_the_rest_as_it_is():
    recipe = load_recipe("lazaro-barco-2020-baseline-augmented")
    changed = recipe.changed(training={"seed": 5})
    plain, other = (tomllib.loads(r.to_toml()) for r in (recipe, changed))
    assert other["training"].pop("seed") == 5
    assert plain["training"].pop("seed") == 0
    assert plain == other


def test_a_recipe_does_not_change_by_itself():
    recipe = Recipe(name="x")
    with pytest.raises(ValueError, match="frozen"):
        recipe.training.epochs = 3
