"""Files in torchvision's and timm's layouts compute here what those libraries compute, where they are installed."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import pyscale as ps

TORCHVISION = [
    *(f"resnet{depth}" for depth in (18, 34, 50, 101, 152)),
    "mobilenet_v2",
    *(f"mobilenet_v3_{size}" for size in ("small", "large")),
    *(f"efficientnet_b{index}" for index in range(8)),
]
TIMM = {"resnet_rs50_160": "resnetrs50", "resnet_rs101_192": "resnetrs101", "resnet_rs152_256": "resnetrs152"}


def drawn(network):
    """Give a network weights and statistics that no part of it can ignore."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                for t, least, width in (
                    (module.weight, 0.5, 1.0),
                    (module.bias, -0.2, 0.4),
                    (module.running_mean, -0.2, 0.4),
                    (module.running_var, 0.5, 1.0),
                ):
                    t.copy_(least + width * torch.rand(t.shape, generator=generator))
    return network.eval()


def assert_computes_the_same(name, theirs, path):
    torch.save(theirs.state_dict(), path)
    ours = ps.models.build(name, weights=path).eval()
    x = torch.randn(2, 3, 96, 96, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        expected, found = theirs(x), ours(x)
    assert expected.std() > 1e-3 * expected.abs().max()
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5 * float(expected.abs().max()))


@pytest.mark.parametrize("name", TORCHVISION)
def test_a_file_of_torchvision(name, tmp_path):
    torchvision = pytest.importorskip("torchvision", reason="torchvision is not installed", exc_type=ImportError)
    torch.manual_seed(0)
    theirs = drawn(torchvision.models.get_model(name, weights=None))
    assert_computes_the_same(name, theirs, tmp_path / "official.pth")


@pytest.mark.parametrize("name", TIMM)
def test_a_file_of_timm(name, tmp_path):
    timm = pytest.importorskip("timm", reason="timm is not installed", exc_type=ImportError)
    torch.manual_seed(0)
    theirs = drawn(timm.create_model(TIMM[name], pretrained=False))
    assert_computes_the_same(name, theirs, tmp_path / "official.pth")


def test_networks_of_torchvision_compare_with_ours(tmp_path):
    torchvision = pytest.importorskip("torchvision", reason="torchvision is not installed", exc_type=ImportError)
    torch.manual_seed(0)
    theirs = drawn(torchvision.models.resnet18(weights=None))
    torch.save(theirs.state_dict(), tmp_path / "official.pth")
    ours = ps.models.build("resnet18", weights=tmp_path / "official.pth")
    pictures = torch.randn(32, 3, 64, 64, generator=torch.Generator().manual_seed(1)).split(16)
    result = ps.compare(ours, theirs, list(pictures), layers=[nn.Conv2d, nn.Linear], progress=False)
    assert result.rows == result.columns
    assert result.values.diagonal() == pytest.approx(1, abs=1e-6)
