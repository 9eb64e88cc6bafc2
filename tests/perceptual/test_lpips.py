"""LPIPS: its definition, batching, slopes, and the weights it is put together from."""

import importlib.util

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from v2m4.errors import V2M4Error
from v2m4.nn.weights import load_strictly
from v2m4.perceptual import lpips as lpips_module
from v2m4.perceptual.lpips import CHANNELS, Lpips, LpipsNetwork, Vgg16Features, network_state


def random_network(seed: int = 0) -> LpipsNetwork:
    torch.manual_seed(seed)
    network = LpipsNetwork()
    for parameter in network.trunk.parameters():
        if parameter.dim() == 4:
            nn.init.kaiming_normal_(parameter)
    return network


def published_form(network: LpipsNetwork) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The two checkpoints that `network` would come from."""
    vgg = {name.removeprefix("trunk."): t for name, t in network.state_dict().items() if name.startswith("trunk.")}
    vgg |= {"classifier.0.weight": torch.zeros(2, 2)}
    return vgg, {f"lin{k}.model.1.weight": torch.rand(1, width, 1, 1) for k, width in enumerate(CHANNELS)}


def test_the_trunk_has_torchvisions_names_and_ends_at_relu5_3() -> None:
    names = [name for name in Vgg16Features().state_dict() if name.endswith("weight")]
    assert names[:3] == ["features.0.weight", "features.2.weight", "features.5.weight"]
    assert names[-1] == "features.28.weight"
    kept = Vgg16Features()(torch.rand(1, 3, 32, 48))
    assert [x.shape[1] for x in kept] == list(CHANNELS)
    assert [tuple(x.shape[2:]) for x in kept] == [(32, 48), (16, 24), (8, 12), (4, 6), (2, 3)]


def test_the_distance_equals_its_definition() -> None:
    network = random_network()
    vgg, linear = published_form(network)
    load_strictly(network, network_state(vgg, linear), "lpips")
    a, b = torch.rand(32, 32, 3), torch.rand(32, 32, 3)
    shift, scale = torch.tensor([-0.030, -0.088, -0.188]), torch.tensor([0.458, 0.448, 0.450])
    want = torch.zeros(())
    with torch.no_grad():
        levels = [network.trunk((((x * 2 - 1) - shift) / scale).permute(2, 0, 1)[None]) for x in (a, b)]
        for k, (x, y) in enumerate(zip(*levels, strict=True)):
            difference = (F.normalize(x, dim=1) - F.normalize(y, dim=1)).square()
            want = want + F.conv2d(difference, linear[f"lin{k}.model.1.weight"]).mean()
    plug = Lpips(network=network)
    assert plug(plug.prepare(a), b[None]).item() == pytest.approx(want.item(), rel=1e-5)


def test_a_picture_is_at_no_distance_from_itself_and_batches_change_nothing() -> None:
    plug = Lpips(network=random_network(), images_per_batch=2)
    images = torch.rand(5, 32, 32, 3)
    prepared = plug.prepare(images[3])
    distances = plug(prepared, images)
    assert distances.shape == (5,)
    assert distances[3] < 1e-9
    assert (distances[[0, 1, 2, 4]] > 1e-3).all()
    alone = torch.cat([plug(prepared, image[None]) for image in images])
    assert torch.allclose(distances, alone, atol=1e-6)


def test_the_map_shows_where_pictures_differ() -> None:
    plug = Lpips(network=random_network())
    reference = torch.rand(64, 64, 3)
    changed = reference.clone()
    changed[:16, :16] = 0
    levels = plug.maps(plug.prepare(reference), changed[None])
    assert levels.shape == (1, 64, 64)
    assert levels[0, :16, :16].mean() > 3 * levels[0, 40:, 40:].mean()


def test_descent_on_the_pixels_brings_a_picture_closer() -> None:
    plug = Lpips(network=random_network())
    prepared = plug.prepare(torch.rand(32, 32, 3))
    picture = torch.full((1, 32, 32, 3), 0.5, requires_grad=True)
    first = plug(prepared, picture).sum()
    (slope,) = torch.autograd.grad(first, picture)
    assert torch.isfinite(slope).all()
    moved = picture.detach() - 0.1 * slope / slope.abs().max()
    assert float(plug(prepared, moved).sum()) < first.item()


def test_slopes_are_finite_where_no_channel_fires() -> None:
    network = random_network()
    with torch.no_grad():
        for name, parameter in network.trunk.named_parameters():
            if name.endswith("bias"):
                parameter.fill_(-100)
    plug = Lpips(network=network)
    picture = torch.zeros(1, 32, 32, 3, requires_grad=True)
    plug(plug.prepare(torch.rand(32, 32, 3)), picture).sum().backward()
    assert torch.isfinite(picture.grad).all()


def test_another_size_is_resampled_to_the_references() -> None:
    plug = Lpips(network=random_network())
    prepared = plug.prepare(torch.full((32, 32, 3), 0.4))
    assert plug(prepared, torch.full((1, 64, 64, 3), 0.4)).item() == pytest.approx(0, abs=1e-6)


def test_weights_come_from_the_package_and_from_torchvisions_checkpoint(monkeypatch, tmp_path) -> None:
    vgg, linear = published_form(random_network(1))
    torch.save(vgg, tmp_path / "vgg16.pth")
    torch.save(linear, tmp_path / "vgg.pth")
    monkeypatch.setattr(lpips_module, "_package_weights", lambda: tmp_path / "vgg.pth")
    asked = []
    monkeypatch.setattr(lpips_module, "fetch_url", lambda *a: (asked.append(a), tmp_path / "vgg16.pth")[1])
    network = Lpips().network
    url = "https://download.pytorch.org/models/vgg16-397923af.pth"
    assert asked == [(url, "vgg16-397923af.pth", "lpips", "397923af")]
    assert torch.equal(network.trunk.features[28].weight, vgg["features.28.weight"])
    assert torch.equal(network.lin2, linear["lin2.model.1.weight"].flatten())


@pytest.mark.skipif(importlib.util.find_spec("lpips") is None, reason="needs the package lpips")
def test_the_packages_own_weights_fit() -> None:
    linear = lpips_module.read_state_dict(lpips_module._package_weights(), "lpips")
    network = random_network()
    load_strictly(network, network_state(published_form(network)[0], linear), "lpips")
    assert all(network.get_parameter(f"lin{k}").min().item() >= 0 for k in range(5))


def test_without_the_package_the_way_out_is_named(monkeypatch) -> None:
    monkeypatch.setattr(lpips_module.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(V2M4Error, match="pip install lpips"):
        Lpips()


def test_the_distance_is_that_of_the_package() -> None:
    """The package's own network with our random trunk and the channel weights that it brings."""
    package = pytest.importorskip("lpips", exc_type=(ImportError, RuntimeError))
    theirs = package.LPIPS(net="vgg", pnet_rand=True, verbose=False, spatial=True).eval()
    network = random_network()
    trunk = network.trunk.state_dict()
    with torch.no_grad():
        for part in (theirs.net.slice1, theirs.net.slice2, theirs.net.slice3, theirs.net.slice4, theirs.net.slice5):
            for number, layer in part.named_children():
                if isinstance(layer, nn.Conv2d):
                    layer.weight.copy_(trunk[f"features.{number}.weight"])
                    layer.bias.copy_(trunk[f"features.{number}.bias"])
        for k in range(len(CHANNELS)):
            network.get_parameter(f"lin{k}").copy_(theirs.lins[k].model[1].weight.flatten())
        a, b = torch.rand(48, 64, 3), torch.rand(48, 64, 3)
        want = theirs(*(x.permute(2, 0, 1)[None] * 2 - 1 for x in (a, b)))[0, 0]
    plug = Lpips(network=network)
    assert torch.allclose(plug.maps(plug.prepare(a), b[None])[0], want, atol=1e-5 * float(want.max()))
