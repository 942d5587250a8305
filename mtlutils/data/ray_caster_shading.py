"""The colours of what rays hit: textures, lights and haze."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mtlutils.data.ray_caster import Cameras, Hits, dot

PLAIN, CHECKER, STRIPES, GRID, NOISE = range(5)
_NOISE = torch.from_numpy(np.random.default_rng(0).random((64, 64), dtype=np.float32))


@dataclass(frozen=True)
class Looks:
    """How the shapes look, on the CPU.

    Attributes:
        colours: (N, K, 2, 3), from 0 to 1, between which the texture changes.
        texture: (N, K) int64: PLAIN, CHECKER, STRIPES, GRID (of panes in the second colour) or NOISE.
        size: (N, K), metres after which the texture repeats itself.
        glow: (N, K), from 0 to 1, share of the colour that needs no light.
    """

    colours: Tensor
    texture: Tensor
    size: Tensor
    glow: Tensor


@dataclass(frozen=True)
class Lights:
    """L lights in each of N scenes, and what is behind everything, on the CPU.

    Attributes:
        position: (N, L, 3), metres, in the world.
        strength: (N, L); 1 lights a surface that faces it with its full colour.
        reach: (N, L), metres at which half of the strength is left.
        ambient: (N,), light that is everywhere.
        sky: (N, 3), colour where there is no shape, from 0 to 1.
        clear: (N,), metres at which half of what is seen is the sky's colour.
    """

    position: Tensor
    strength: Tensor
    reach: Tensor
    ambient: Tensor
    sky: Tensor
    clear: Tensor


def shade(hits: Hits, looks: Looks, lights: Lights, cameras: Cameras) -> Tensor:
    """Return the images (N, H, W, 3) float32, from 0 to 1, of ``hits``: Lambert's law, without shadows, and haze."""
    n, height, width = hits.shape.shape
    device, k = hits.shape.device, looks.size.shape[1]
    seen = hits.shape >= 0
    shape = (hits.shape.clamp(min=0) + torch.arange(n, device=device).view(n, 1, 1) * k).flatten()
    values = torch.cat([looks.colours.flatten(2), looks.size[..., None], looks.glow[..., None]], dim=-1)
    values = values.flatten(0, 1).T.float().to(device).index_select(1, shape).view(8, n, height, width)
    texture = looks.texture.flatten().to(device)[shape].view(n, height, width)
    rays = cameras.rays(height, width).float().to(device).unbind(-1)
    place = [ray * hits.depth for ray in rays]

    u, v = (hits.surface / values[6, ..., None]).unbind(-1)
    u, v = torch.where(seen, u, 0), torch.where(seen, v, 0)
    share = _pattern(u, v, texture)
    # A pattern smaller than a pixel is its mean.
    pixel = hits.depth / cameras.intrinsics[:, 0, 0].float().to(device).view(n, 1, 1)
    fine = (2 - 4 * pixel / values[6]).clamp(0, 1)
    share = 0.5 + fine * (share - 0.5)

    light = lights.ambient.float().to(device).view(n, 1, 1).expand_as(hits.depth)
    relative = lights.position - cameras.position[:, None]
    for i in range(relative.shape[1]):
        turned = (cameras.rotation * relative[:, i, None]).sum(dim=-1).float().to(device)
        to = [turned[:, axis].view(n, 1, 1) - place[axis] for axis in range(3)]
        distance = dot(to, to).sqrt().clamp(min=1e-6)
        facing = dot(to, hits.normal.unbind(-1)) / distance
        reach, strength = (e[:, i].float().to(device).view(n, 1, 1) for e in (lights.reach, lights.strength))
        part = distance / reach
        light = light + strength * facing.clamp(min=0) / (1 + part * part)
    light = values[7] + (1 - values[7]) * light

    haze = hits.depth / lights.clear.float().to(device).view(n, 1, 1)
    haze = torch.where(seen, haze * haze / (1 + haze * haze), 1)
    clouds = _pattern(rays[0] * 3, rays[1] * 9, torch.full_like(texture, NOISE))
    channels = []
    for channel in range(3):
        own = (values[channel] + share * (values[3 + channel] - values[channel])) * light
        sky = lights.sky[:, channel].float().to(device).view(n, 1, 1) * (0.85 + 0.2 * clouds)
        channels.append(own + haze * (sky - own))
    return torch.stack(channels, dim=-1).clamp(0, 1)


def _pattern(u: Tensor, v: Tensor, texture: Tensor) -> Tensor:
    """Return the share of the second colour at places ``u``, ``v``, where every pattern has a period of 1."""
    across, up = u - u.floor(), v - v.floor()
    half, other = (across < 0.5).float(), (up < 0.5).float()
    pane = ((across - 0.5).abs() < 0.36) & ((up - 0.5).abs() < 0.36)
    column, row = (4 * u).floor(), (4 * v).floor()
    across, up = 4 * u - column, 4 * v - row
    across, up = across * across * (3 - 2 * across), up * up * (3 - 2 * up)
    noise = _NOISE.to(u.device).flatten()
    left, right = (column.long() & 63) << 6, (column.long() + 1 & 63) << 6
    below, above = row.long() & 63, row.long() + 1 & 63
    low = noise[left | below] + across * (noise[right | below] - noise[left | below])
    high = noise[left | above] + across * (noise[right | above] - noise[left | above])
    smooth = low + up * (high - low)
    share = torch.where(texture == CHECKER, (half - other).abs(), 0.7 * smooth)
    share = torch.where(texture == STRIPES, half, share)
    share = torch.where(texture == GRID, pane.float(), share)
    return torch.where(texture == PLAIN, 0.25 * smooth, share)
