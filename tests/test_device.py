"""Networks are moved to where they work, and back."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from v2m4.device import on_device


class Mover(nn.Linear):
    """A network that only notes where it is sent."""

    def __init__(self) -> None:
        super().__init__(2, 2)
        self.place = torch.device("cpu")
        self.moves: list[str] = []

    def to(self, place):
        self.place = torch.device(place)
        self.moves.append(str(place))
        return self

    def parameters(self, recurse=True):
        return iter([torch.empty(0, device=self.place)])


def test_networks_stay_until_the_outermost_block_ends() -> None:
    network, elsewhere = Mover(), torch.device("meta")
    with on_device([network], elsewhere):
        with on_device([network], elsewhere):
            assert network.place == elsewhere
        assert network.place == elsewhere
    assert network.moves == ["meta", "cpu"]


def test_networks_that_are_there_already_do_not_move() -> None:
    network = Mover()
    with on_device([network], torch.device("cpu")):
        pass
    assert network.moves == []


def test_networks_go_back_after_an_error_too() -> None:
    network = Mover()
    with pytest.raises(ValueError), on_device([network], torch.device("meta")):
        raise ValueError("stop")
    assert network.place.type == "cpu"
