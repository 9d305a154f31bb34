"""What the GANs share: augmentation keeps to its policy and passes gradients, batches repeat, statistics are fresh."""

import torch
from torch import Tensor, nn

from worker.training.adversarial import Augmentation, augment, calibrated, draw_real
from worker.training.loop import descend

NOTHING = Augmentation(shift_pixels=0, cutout_pixels=0)


def stream(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_a_policy_of_nothing_changes_nothing() -> None:
    pictures = torch.rand(4, 3, 16, 16)
    assert torch.equal(augment(pictures, NOTHING, stream()), pictures)


def test_a_shift_moves_by_no_more_than_its_reach() -> None:
    pictures = torch.full((64, 1, 15, 15), -1.0)
    pictures[:, :, 7, 7] = 1
    moved = augment(pictures, Augmentation(shift_pixels=3, cutout_pixels=0, fill=-1), stream())
    places = (moved == 1).nonzero()[:, 2:]
    assert len(places) == 64
    assert (places - 7).abs().max() == 3
    assert len({tuple(place) for place in places.tolist()}) > 20


def test_a_hole_shows_the_fill() -> None:
    pictures = torch.ones(32, 3, 16, 16)
    holed = augment(pictures, Augmentation(shift_pixels=0, cutout_pixels=6, fill=0.25), stream())
    hidden = (holed != 1).sum(dim=(1, 2, 3)) / 3
    assert hidden.max() == 25  # an odd square: the centre and two pixels each way
    assert hidden.min() > 0
    assert set(holed.flatten().tolist()) == {0.25, 1.0}


def test_colours_change_picture_by_picture_and_grey_stays_grey() -> None:
    policy = Augmentation(shift_pixels=0, cutout_pixels=0, brightness=0.2, contrast=0.2, saturation=0.5)
    grey = torch.rand(8, 1, 4, 4).expand(-1, 3, -1, -1)
    changed = augment(grey, policy, stream())
    assert torch.allclose(changed[:, 0], changed[:, 1], atol=1e-6)
    shifts = (changed - grey).mean(dim=(1, 2, 3))
    assert shifts.abs().max() <= 0.2 + 1e-6
    assert shifts.std() > 0.02


def test_gradients_come_through() -> None:
    pictures = torch.rand(2, 3, 8, 8, requires_grad=True)
    policy = Augmentation(shift_pixels=2, cutout_pixels=2, brightness=0.1, contrast=0.1, saturation=0.1)
    descend(augment(pictures, policy, stream()).sum())
    assert pictures.grad is not None
    assert (pictures.grad != 0).float().mean() > 0.4


def test_a_batch_of_real_pictures_repeats_and_knows_its_places() -> None:
    pictures = torch.rand(10, 1, 4, 4)
    batch, places = draw_real(pictures, 32, stream(), mirror=True)
    again, _ = draw_real(pictures, 32, stream(), mirror=True)
    assert torch.equal(batch, again)
    straight = (batch == pictures[places]).all(dim=(1, 2, 3))
    mirrored = (batch == pictures[places].flip(3)).all(dim=(1, 2, 3))
    assert bool((straight | mirrored).all())
    assert 0 < int(mirrored.sum()) < 32
    assert torch.equal(draw_real(pictures, 32, stream(), mirror=False)[0], pictures[places])


def test_calibration_measures_the_average_and_leaves_it_alone() -> None:
    norm = nn.BatchNorm2d(2)

    def forward(net: nn.Module, numbers: torch.Generator) -> Tensor:
        made: Tensor = net(3 + 2 * torch.randn(50, 2, 4, 4, generator=numbers))
        return made

    fresh = calibrated(norm, 10, 0, forward)
    assert fresh.running_mean is not None
    assert fresh.running_var is not None
    assert torch.allclose(fresh.running_mean, torch.full((2,), 3.0), atol=0.1)
    assert torch.allclose(fresh.running_var, torch.full((2,), 4.0), atol=0.2)
    assert not fresh.training
    assert norm.running_mean is not None
    assert norm.running_mean.abs().max() == 0
