"""Super-resolution: better than interpolation, the same by ncnn and by torch, and no seam where tiles meet."""

import numpy as np
import pytest
from PIL import Image

from models.errors import CheckpointUnavailableError, InvalidInputError
from tests.packaged.conftest import Pixels, draw_scene
from worker.packaged.real_esrgan import FILES, SCALE, NcnnEnlarger, Net, TorchEnlarger, enlarge, net_of
from worker.packaged.tiles import enlarge_tiled, spans
from worker.quality.psnr import psnr


@pytest.fixture(scope="module")
def fast() -> NcnnEnlarger:
    return NcnnEnlarger(Net.FAST)


@pytest.fixture(scope="module")
def drawing() -> NcnnEnlarger:
    return NcnnEnlarger(Net.DRAWING)


def resized(pixels: Pixels, height: int, width: int, how: Image.Resampling) -> Pixels:
    return np.asarray(Image.fromarray(pixels).resize((width, height), how))


def steepness(pixels: Pixels) -> float:
    """Mean square of the steps between neighbours: what edges have, and blur takes."""
    values = pixels.astype(float)
    return float((np.diff(values, axis=0) ** 2).mean() + (np.diff(values, axis=1) ** 2).mean())


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize(("height", "width"), [(24, 40), (33, 17), (1, 1)])
def test_the_size(fast: NcnnEnlarger, scene: Pixels, scale: int, height: int, width: int) -> None:
    large = enlarge(fast, np.ascontiguousarray(scene[:height, :width]), scale)
    assert (large.shape, large.dtype) == ((height * scale, width * scale, 3), np.uint8)


@pytest.mark.parametrize("scale", [1, 5, 8])
def test_a_scale_that_is_not_there(fast: NcnnEnlarger, scene: Pixels, scale: int) -> None:
    with pytest.raises(InvalidInputError, match="2, 3, 4"):
        enlarge(fast, scene, scale)


@pytest.mark.parametrize("net", list(Net))
def test_edges_come_back_that_interpolation_leaves_soft(net: Net) -> None:
    # given: a picture of 192 px, and what is left of it at 48
    truth = draw_scene(192)
    small = resized(truth, 48, 48, Image.Resampling.BOX)
    # when
    large = enlarge(NcnnEnlarger(net), small)
    # then: as near to the truth, pixel by pixel, and its edges are edges again
    bicubic = resized(small, 192, 192, Image.Resampling.BICUBIC)
    assert psnr(large, truth) > psnr(bicubic, truth) - 1
    assert steepness(truth) > 4 * steepness(bicubic)
    assert steepness(large) > 2 * steepness(bicubic)


@pytest.mark.parametrize("net", list(Net))
def test_torch_and_ncnn_agree(net: Net, scene: Pixels) -> None:
    small = np.ascontiguousarray(scene[40:68, 20:56])
    by_ncnn, by_torch = NcnnEnlarger(net)(small), TorchEnlarger(net, "cpu")(small)
    assert by_ncnn.shape == by_torch.shape == (28 * SCALE, 36 * SCALE, 3)
    assert np.abs(by_ncnn - by_torch).max() * 255 < 0.1
    assert by_torch.std() > 0.1


def test_the_same_picture_gives_the_same_bytes(drawing: NcnnEnlarger, scene: Pixels) -> None:
    small = np.ascontiguousarray(scene[::4, ::4])
    assert np.array_equal(enlarge(drawing, small), enlarge(NcnnEnlarger(Net.DRAWING), small))


def test_no_seam_shows(fast: NcnnEnlarger, drawing: NcnnEnlarger) -> None:
    # given: the same picture at once, and in six tiles
    picture = draw_scene(96)[:64]
    for enlarger, least in ((fast, 60.0), (drawing, 50.0)):
        whole = enlarge(enlarger, picture, tile=96)
        tiled = enlarge(enlarger, picture, tile=32)
        # then: they hardly differ anywhere, and no more where tiles meet than between
        assert psnr(whole, tiled) > least
        steps = np.abs(np.diff(tiled.astype(int), axis=1) - np.diff(whole.astype(int), axis=1)).mean((0, 2))
        assert steps[[127, 255]].mean() < 1.0


def test_without_margins_there_would_be_seams(fast: NcnnEnlarger) -> None:
    """So that the test above can fail."""
    picture = draw_scene(96)[:64]
    whole, tiled = enlarge(fast, picture, tile=96), enlarge(fast, picture, tile=32, margin=0)
    assert psnr(whole, tiled) < 50


def test_tiles_are_told_of_and_may_be_stopped(fast: NcnnEnlarger, scene: Pixels) -> None:
    seen: list[tuple[int, int]] = []

    def stop_at_third(done: int, total: int) -> None:
        seen.append((done, total))
        if done == 3:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        enlarge(fast, scene, tile=64, on_tile=stop_at_third)
    assert seen == [(1, 4), (2, 4), (3, 4)]


def test_a_manifest_names_its_net() -> None:
    for net, files in FILES.items():
        assert net_of(file.path for file in files) is net
    several = [file.path for files in FILES.values() for file in files]
    for paths in ([], ["model.safetensors"], several, several[:1]):
        with pytest.raises(CheckpointUnavailableError, match="one Real-ESRGAN net"):
            net_of(paths)


@pytest.mark.parametrize(("length", "tile", "margin"), [(100, 32, 8), (7, 3, 10), (64, 64, 4), (65, 64, 32), (1, 5, 2)])
def test_what_tiles_give_adds_up_to_one_everywhere(length: int, tile: int, margin: int) -> None:
    total = np.zeros(length * 3)
    for span in spans(length, tile, margin):
        assert span.sees_from <= span.gives_from < span.gives_to <= span.sees_to <= length
        total[span.gives_from * 3 : span.gives_to * 3] += span.weights(3)
    assert np.allclose(total, 1)


def test_values_out_of_range_are_cut_and_rounded() -> None:
    def beyond(pixels: Pixels) -> np.ndarray:
        return np.repeat(np.repeat(pixels.astype(np.float32) / 100 - 0.5, 2, 0), 2, 1)

    large = enlarge_tiled(beyond, np.array([[[0, 100, 200]]], np.uint8), scale=2, tile=8, margin=2)
    assert large.shape == (2, 2, 3)
    assert large[0, 0].tolist() == [0, 128, 255]
