"""The fixed inputs the tiny models of the zoo are run on."""

from __future__ import annotations

import torch
from torch import Tensor

from tests.support.zoo_configs import IMAGE_TOKEN

Inputs = dict[str, Tensor]


def words() -> Inputs:
    """Twelve tokens, all different, none special."""
    return {"input_ids": (torch.arange(12) * 7 % 70 + 4)[None]}


def wave(*shape: int) -> Tensor:
    """Smooth numbers between -1 and 1 of any shape."""
    return torch.sin(torch.arange(torch.Size(shape).numel()) * 0.37).reshape(shape)


def words_and_answer() -> Inputs:
    """An encoder's words and the first words of a decoder."""
    return {**words(), "decoder_input_ids": torch.tensor([[0, 9, 23, 41, 5]])}


def picture() -> Inputs:
    return {"pixel_values": wave(1, 3, 16, 16)}


def sound() -> Inputs:
    return {"input_values": wave(1, 200)}


def spectrum() -> Inputs:
    return {"input_features": wave(1, 8, 24), "decoder_input_ids": torch.tensor([[1, 9, 23, 41, 5]])}


def picture_and_caption() -> Inputs:
    """For two towers; the caption ends in the end-of-text token its embedding is read at."""
    caption = torch.cat([words()["input_ids"], torch.tensor([[2]])], dim=1)
    return {**picture(), "input_ids": caption}


def words_with_picture() -> Inputs:
    """Four places of the text are taken by the picture."""
    return {**picture(), "input_ids": _with_image(words()["input_ids"])}


def words_with_patches() -> Inputs:
    """The picture as sixteen patches of two frames, of which each two by two make one place of the text."""
    ids = _with_image(words()["input_ids"])
    patches = {"pixel_values": wave(16, 3 * 2 * 4 * 4), "image_grid_thw": torch.tensor([[1, 4, 4]])}
    return {**patches, "input_ids": ids, "mm_token_type_ids": (ids == IMAGE_TOKEN).int()}


def rows() -> Inputs:
    return {"input": wave(5, 8)}


def _with_image(ids: Tensor) -> Tensor:
    taken = torch.zeros_like(ids, dtype=torch.bool)
    taken[:, 3:7] = True
    return ids.masked_fill(taken, IMAGE_TOKEN)
