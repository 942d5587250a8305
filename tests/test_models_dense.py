"""Networks for dense prediction: parameters, shapes, gradients, and the layers of the published networks."""

import itertools
from pathlib import Path
from unittest.mock import Mock
from urllib.error import URLError

import pytest
import torch
from shared import assert_state_goes_round
from torch import nn
from torch.nn.functional import batch_norm, conv2d, max_pool2d
from torchvision.models.segmentation import deeplabv3_resnet50
from torchvision.transforms import Normalize

from mtlutils import balancing, folders
from mtlutils.errors import InputError
from mtlutils.models import dilated_resnet, dilated_resnet_mtan, pretrained_weights, segnet, segnet_mtan
from mtlutils.models.dilated_resnet import resnet_encoder
from mtlutils.models.segnet import SegNetDecoder, SegNetEncoder

OUTPUTS = {"segmentation": 5, "depth": 1, "normal": 3}
NYUV2 = {"segmentation": 13, "depth": 1, "normal": 3}
BLOCKS = (2, 2, 2, 2)


def small(build, seed=0, outputs=OUTPUTS):
    torch.manual_seed(seed)
    return build(outputs, width=4) if build in SEGNETS else build(outputs, BLOCKS, width=4, aspp_channels=8)


def images(n=3, height=32, width=64):
    return torch.rand(n, 3, height, width, generator=torch.Generator().manual_seed(5))


SEGNETS = [segnet, segnet_mtan]
RESNETS = [dilated_resnet, dilated_resnet_mtan]
MTANS = [segnet_mtan, dilated_resnet_mtan]
every_network = pytest.mark.parametrize("build", [*SEGNETS, *RESNETS])


def ids(parameters):
    return {id(parameter) for parameter in parameters}


@every_network
def test_shared_and_task_parameters_are_all_parameters_each_once(build):
    model = small(build)
    shared, of_tasks = list(model.shared_parameters()), list(model.task_parameters())
    assert len(ids(shared)) == len(shared) > 0
    assert len(ids(of_tasks)) == len(of_tasks) > 0
    assert not ids(shared) & ids(of_tasks)
    assert ids(shared) | ids(of_tasks) == ids(model.parameters())


@every_network
@pytest.mark.parametrize(("height", "width"), [(32, 32), (32, 64), (96, 64)])
def test_outputs_have_the_size_of_the_images(build, height, width):
    outputs = small(build)(images(2, height, width))
    shapes = {task: (2, n, height, width) for task, n in OUTPUTS.items()}
    assert {task: tuple(output.shape) for task, output in outputs.items()} == shapes


@every_network
@pytest.mark.parametrize("order", [slice(None, None, -1), slice(1), slice(-1, None), slice(0)])
def test_only_the_heads_of_the_asked_tasks_run(build, order):
    model = small(build).eval()  # without dropout
    everything, ran = model(images()), []
    for task, head in model.heads.items():
        head.register_forward_hook(lambda *_, task=task: ran.append(task))
    asked = list(OUTPUTS)[order]
    outputs = model(images(), tasks=asked)
    assert ran == list(outputs) == asked
    for task in asked:
        assert torch.equal(outputs[task], everything[task])


def idle_biases(model):
    """Biases that batch norm takes away again, as in the published code."""
    chains = [list(module) for module in model.modules() if isinstance(module, nn.Sequential)]
    pairs = [pair for chain in chains for pair in itertools.pairwise(chain)]
    return ids(one.bias for one, two in pairs if isinstance(one, nn.Conv2d) and isinstance(two, nn.BatchNorm2d))


@every_network
def test_every_task_reaches_the_shared_parameters_and_its_own_head_alone(build):
    model = small(build).double()
    idle = idle_biases(model)
    outputs = model(images().double())
    for task, output in outputs.items():
        model.zero_grad()
        noise = torch.randn(output.shape, generator=torch.Generator().manual_seed(1), dtype=torch.double)
        (output * noise).sum().backward(retain_graph=True)
        reached = {*ids(model.shared_parameters()), *ids(model.heads[task].parameters())}
        for name, parameter in model.named_parameters():
            if id(parameter) not in reached:
                assert parameter.grad is None, name
            elif id(parameter) in idle:
                assert parameter.grad.abs().max() < 1e-8, name
            else:
                assert parameter.grad.isfinite().all(), name
                assert parameter.grad.abs().max() > 1e-6, name


@every_network
def test_state_round_trip(build, tmp_path):
    assert_state_goes_round(small(build, seed=0), small(build, seed=1), images(), tmp_path)


@every_network
def test_same_seed_same_network(build):
    first, second = (small(build, seed=3).state_dict() for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)


@every_network
def test_channels_last_layout_gives_the_same_numbers(build):
    contiguous, other = small(build).eval(), small(build).eval().to(memory_format=torch.channels_last)
    outputs = other(images().to(memory_format=torch.channels_last))
    for task, expected in contiguous(images()).items():
        torch.testing.assert_close(outputs[task], expected, rtol=1e-4, atol=1e-5)


# Balancing


class Batch:
    """Mean squared outputs, each away from another number."""

    def __init__(self, model):
        self.model = model

    def losses(self, tasks):
        outputs = self.model(images().double(), tasks=tasks)
        return torch.stack([(outputs[task] - 0.1 * i).square().mean() for i, task in enumerate(tasks, 1)])

    def __call__(self):
        return self.losses(list(self.model.heads))

    def of(self, task):
        return self()[task]


@every_network
@pytest.mark.parametrize(
    "method",
    [
        *("single_step", "single_step(second_order=true)", "split_only", "gradnorm"),
        *("pcgrad", "pcgrad(gradients=representation)"),
    ],
)
def test_balancers_take_a_step_and_running_statistics_move_once(build, method):
    # In float64: far from a SegNet's outputs, steps from 1 are lost in float32.
    model, ordinary = small(build).double(), small(build).double()
    start = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    torch.manual_seed(1)  # the same dropout
    Batch(ordinary)()
    torch.manual_seed(1)
    balancer = balancing.create(method, 3)
    losses = balancer.step(Batch(model), model, torch.optim.SGD(model.parameters(), lr=1e-3))
    assert losses.isfinite().all()
    for (name, ours), theirs in zip(model.named_buffers(), ordinary.buffers(), strict=True):
        assert torch.equal(ours, theirs), name
        if name.endswith("num_batches_tracked"):
            assert ours == (3 if name.startswith("extractors") else 1), name  # a task at a time goes through those
    idle = idle_biases(model)
    assert all(parameter.isfinite().all() for parameter in model.parameters())
    stayed = [name for name, p in model.named_parameters() if torch.equal(p, start[name]) and id(p) not in idle]
    assert stayed == []
    if method == "gradnorm":
        assert balancer.task_weights.sum().item() == pytest.approx(3)
        assert (balancer.task_weights - 1).abs().min() > 1e-3


LAST_LAYERS = {
    segnet: "encoder.stages.4.2.0.weight",
    segnet_mtan: "encoder.decoder.stages.4.1.0.weight",
    dilated_resnet: "encoder.layer4.1.conv3.weight",
    dilated_resnet_mtan: "encoder.last_blocks.3.conv3.weight",
}


@every_network
def test_last_shared_matrix_is_of_the_trunks_last_layer(build):
    model, ran = small(build), []
    last = [parameter for parameter in model.shared_parameters() if parameter.dim() >= 2][-1]
    for module in model.encoder.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(lambda module, *_: ran.append(module))
    outputs = model(images())
    assert ran[-1].weight is last
    assert dict(model.named_parameters())[LAST_LAYERS[build]] is last
    for output in outputs.values():
        (gradient,) = torch.autograd.grad(output.square().sum(), last, retain_graph=True)
        assert gradient.abs().max() > 1e-6


# Numbers of parameters


def count(parameters):
    return sum(parameter.numel() for parameter in parameters)


def sizes(build, *arguments, **options):
    """Numbers of shared parameters and of each task's."""
    with torch.device("meta"):
        model = build(*arguments, **options)
    return count(model.shared_parameters()), [count(head.parameters()) for head in model.heads.values()]


def layer(n_in, n_out):
    """A 3×3 convolution with bias, and batch norm."""
    return 9 * n_in * n_out + n_out + 2 * n_out


def mask(n_in, n_hidden, n_out):
    """Two 1×1 convolutions with bias, each with batch norm."""
    return (n_in * n_hidden + n_hidden + 2 * n_hidden) + (n_hidden * n_out + n_out + 2 * n_out)


ENCODER = (
    *(layer(3, 64), layer(64, 64)),
    *(layer(64, 128), layer(128, 128)),
    *(layer(128, 256), layer(256, 256), layer(256, 256)),
    *(layer(256, 512), layer(512, 512), layer(512, 512)),
    *(layer(512, 512), layer(512, 512), layer(512, 512)),
)
DECODER = (
    *(layer(512, 512), layer(512, 512), layer(512, 512)),
    *(layer(512, 256), layer(256, 256), layer(256, 256)),
    *(layer(256, 128), layer(128, 128), layer(128, 128)),
    *(layer(128, 64), layer(64, 64)),
    *(layer(64, 64), layer(64, 64)),
)


def prediction(n):
    return 9 * 64 * 64 + 64 + 64 * n + n


def test_parameters_of_segnet():
    assert sizes(segnet, NYUV2) == (sum(ENCODER), [sum(DECODER) + prediction(n) for n in NYUV2.values()])
    # The number that the code of Liu et al. 2019 divides all others by: one task, of 13 classes.
    shared, (own,) = sizes(segnet, {"segmentation": 13})
    assert shared + own == 24_981_069


def test_parameters_of_segnet_mtan():
    shared = sum(ENCODER) + sum(DECODER)
    shared += layer(64, 128) + layer(128, 256) + layer(256, 512) + layer(512, 512) + layer(512, 512)
    shared += layer(512, 512) + layer(512, 256) + layer(256, 128) + layer(128, 64) + layer(64, 64)
    masks = mask(64, 64, 64) + mask(256, 128, 128) + mask(512, 256, 256) + 2 * mask(1024, 512, 512)
    masks += mask(1024, 512, 512) + mask(768, 256, 256) + mask(384, 128, 128) + mask(192, 64, 64) + mask(128, 64, 64)
    assert sizes(segnet_mtan, NYUV2) == (shared, [masks + prediction(n) for n in NYUV2.values()])
    # The layers are those of lorenmt/mtan, im2im_pred/model_segnet_mtan.py at 1342634, which has this ratio too.
    assert round((shared + sum(masks + prediction(n) for n in NYUV2.values())) / 24_981_069, 2) == 1.77


RESNET_50 = 25_557_032 - 2048 * 1000 - 1000  # torchvision's documentation, without the 1000 classes
# torchvision's documentation of DeepLabv3 on it for 21 classes, without the auxiliary head on layer3.
DEEPLAB_21 = 42_004_074 - (9 * 1024 * 256 + 2 * 256 + 256 * 21 + 21)


def deeplab_head(n):
    return DEEPLAB_21 - RESNET_50 + (n - 21) * (256 + 1)


def test_parameters_of_the_dilated_resnet():
    assert sizes(dilated_resnet, NYUV2) == (RESNET_50, [deeplab_head(n) for n in NYUV2.values()])


def bottleneck(n_in, n_hidden):
    """Convolutions of 1×1, 3×3 and 1×1, and one on the shortcut, each with batch norm and no bias."""
    n_out = 4 * n_hidden
    convolutions = n_in * n_hidden + 9 * n_hidden * n_hidden + n_hidden * n_out + n_in * n_out
    return convolutions + 2 * (n_hidden + n_hidden + n_out + n_out)


def test_parameters_of_the_dilated_resnet_with_attention():
    shared = RESNET_50 + bottleneck(256, 128) + bottleneck(512, 256) + bottleneck(1024, 512)
    masks = mask(256, 64, 256) + mask(1024, 128, 512) + mask(2048, 256, 1024) + mask(4096, 512, 2048)
    assert sizes(dilated_resnet_mtan, NYUV2) == (shared, [masks + deeplab_head(n) for n in NYUV2.values()])


@every_network
def test_half_the_width_is_a_quarter_of_the_parameters(build):
    options = [{"width": n} if build in SEGNETS else {"width": n, "aspp_channels": 4 * n} for n in (64, 32, 16)]
    numbers = [shared + sum(own) for shared, own in (sizes(build, NYUV2, **each) for each in options)]
    for wide, narrow in itertools.pairwise(numbers):
        assert 3.9 < wide / narrow < 4


# SegNet


def shapes_of(stages):
    return [tuple(stage.last.shape[1:]) for stage in stages]


def test_decoders_put_maxima_where_the_encoder_found_them():
    torch.manual_seed(0)
    encoded = SegNetEncoder(4)(images())
    decoded = SegNetDecoder(4)(encoded)
    assert shapes_of(encoded) == [(4, 32, 64), (8, 16, 32), (16, 8, 16), (32, 4, 8), (32, 2, 4)]
    assert shapes_of(decoded) == [(32, 2, 4), (16, 4, 8), (8, 8, 16), (4, 16, 32), (4, 32, 64)]
    values = encoded[-1].pooled
    for down, up in zip(reversed(encoded), decoded, strict=True):
        places = down.indices.flatten(2)
        assert torch.equal(down.last.flatten(2).gather(2, places), max_pool2d(down.last, 2).flatten(2))
        expected = torch.zeros(up.unpooled.shape).flatten(2).scatter(2, places, values.flatten(2))
        assert torch.equal(up.unpooled.flatten(2), expected)
        values = up.last


def segnet_by_hand(model, x):
    """What a SegNet of one task gives, written out with the model's weights."""
    state = iter(list(model.parameters()))

    def layers(x, n):
        for _ in range(n):
            x = conv2d(x, next(state), next(state), padding=1)
            x = batch_norm(x, None, None, next(state), next(state), training=True).clamp(min=0)
        return x

    pooling, unpooling, places = nn.MaxPool2d(2, return_indices=True), nn.MaxUnpool2d(2), []
    for n in (2, 2, 3, 3, 3):
        x, where = pooling(layers(x, n))
        places.append(where)
    for n in (3, 3, 3, 2, 2):
        x = layers(unpooling(x, places.pop()), n)
    x = conv2d(x, next(state), next(state), padding=1)
    x = conv2d(x, next(state), next(state))
    assert next(state, None) is None
    return x


def test_segnet_is_the_published_sequence_of_layers():
    model = small(segnet, outputs={"depth": 2})
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):  # which would be 1 and 0 everywhere
                module.weight.uniform_(0.5, 1.5)
                module.bias.normal_(std=0.3)
        torch.testing.assert_close(model(images())["depth"], segnet_by_hand(model, images()), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("build", SEGNETS)
def test_segnets_start_from_glorot(build):
    torch.manual_seed(0)
    for name, module in build(OUTPUTS, width=16).named_modules():
        if isinstance(module, nn.Conv2d):
            n_out, n_in, height, width = module.weight.shape
            standard, n = (2 / ((n_in + n_out) * height * width)) ** 0.5, module.weight.numel()
            assert module.weight.std().item() == pytest.approx(standard, rel=6 / (2 * n) ** 0.5), name
            assert not module.bias.any(), name


# The dilated residual network


def test_dilated_resnet_is_torchvisions_deeplab_on_normalised_images():
    torch.manual_seed(0)
    theirs = deeplabv3_resnet50(weights=None, weights_backbone=None, num_classes=5, aux_loss=False).eval()
    with torch.device("meta"):
        ours = dilated_resnet({"segmentation": 5}).eval()
    prefixes = {"backbone": "encoder", "classifier": "heads.segmentation"}
    names = {name: name.partition(".") for name in theirs.state_dict()}
    state = {f"{prefixes[names[name][0]]}.{names[name][2]}": value for name, value in theirs.state_dict().items()}
    ours.load_state_dict(state, assign=True)
    # The constants of the normalisation are not in the state.
    ours.encoder.normalise = resnet_encoder(BLOCKS, 1, None).normalise
    batch = images(1, 32, 40)
    with torch.no_grad():
        expected = theirs(Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])(batch))["out"]
        torch.testing.assert_close(ours(batch)["segmentation"], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("build", RESNETS)
def test_output_stride_is_8_by_dilation(build):
    model, seen = small(build), []
    model.encoder.register_forward_hook(lambda *arguments: seen.append(arguments[-1]))
    model(images(2, 64, 96))
    features = seen[0] if build is dilated_resnet else seen[0][-1][-1]
    assert features.shape == (2, 128, 8, 12)
    convolutions = [(name, each) for name, each in model.encoder.named_modules() if name.endswith(".conv2")]
    dilations = {name: each.dilation for name, each in convolutions}
    assert sorted(dilation[0] for dilation in dilations.values()) == [1, 1, 1, 1, 1, 2, 2, 4]
    assert sorted(each.stride[0] for _, each in convolutions) == [1] * 7 + [2]


@pytest.mark.parametrize("build", RESNETS)
def test_residual_network_starts_from_he_by_fan_out(build):
    torch.manual_seed(0)
    for name, module in build(OUTPUTS, BLOCKS, width=16, aspp_channels=8).encoder.named_modules():
        if isinstance(module, nn.Conv2d):
            n_out, _, height, width = module.weight.shape
            standard, n = (2 / (n_out * height * width)) ** 0.5, module.weight.numel()
            assert module.weight.std().item() == pytest.approx(standard, rel=6 / (2 * n) ** 0.5), name


@pytest.mark.parametrize("build", RESNETS)
def test_one_image_can_be_predicted_but_not_trained_on(build):
    model = small(build)
    with pytest.raises(InputError, match=r"one image; choose a batch_size") as error:
        model(images(1))
    assert "\n" not in str(error.value)
    assert model.eval()(images(1))["depth"].shape == (1, 1, 32, 64)


# Attention


def set_masks(model, logit):
    """Make every mask the same number everywhere."""
    for module in model.heads.modules():
        if isinstance(module, nn.Sequential) and isinstance(module[-1], nn.Sigmoid):
            nn.init.zeros_(module[-2].weight)
            nn.init.constant_(module[-2].bias, logit)


@pytest.mark.parametrize("build", MTANS)
def test_open_masks_leave_the_plain_network_and_closed_ones_nothing(build):
    model = small(build).eval()
    set_masks(model, 40.0)
    features = model.encoder(images())
    last = features[1][-1].last if build is segnet_mtan else features[-1][-1]
    for task, output in model(images()).items():
        torch.testing.assert_close(output, model.heads[task].prediction(last))
    set_masks(model, -200.0)
    for task, output in model(images()).items():
        torch.testing.assert_close(output, model.heads[task].prediction(torch.zeros_like(last)))


MASKS = {
    segnet_mtan: [  # encoder: first and last features at each stage; decoder: the same sizes, coarsest first
        *[(4, 4, 32, 64), (16, 8, 16, 32), (32, 16, 8, 16), (64, 32, 4, 8), (64, 32, 2, 4)],
        *[(64, 32, 2, 4), (48, 16, 4, 8), (24, 8, 8, 16), (12, 4, 16, 32), (8, 4, 32, 64)],
    ],
    dilated_resnet_mtan: [(16, 16, 8, 16), (64, 32, 4, 8), (128, 64, 4, 8), (256, 128, 4, 8)],
}


@pytest.mark.parametrize("build", MTANS)
def test_a_mask_at_every_stage_of_the_stages_channels_and_size(build):
    model, seen = small(build), []
    for module in model.heads["depth"].modules():
        if isinstance(module, nn.Sequential) and isinstance(module[-1], nn.Sigmoid):
            module.register_forward_hook(lambda _, x, mask: seen.append((x[0], mask)))
    model(images(), tasks=["depth"])
    assert [(x.shape[1], *mask.shape[1:]) for x, mask in seen] == MASKS[build]
    assert all(mask.min() > 0 and mask.max() < 1 for _, mask in seen)


@pytest.mark.parametrize("build", MTANS)
def test_every_task_sees_every_extractor_in_turn(build):
    model, ran = small(build), []

    def outputs():
        torch.manual_seed(1)  # the same dropout
        return model(images())

    before = outputs()
    for extractor in model.extractors:
        extractor.register_forward_hook(lambda module, *_: ran.append(module))
    assert all(torch.equal(after, before[task]) for task, after in outputs().items())
    assert ran == [*model.extractors] * 3
    for extractor in model.extractors:
        weight = next(extractor.parameters())
        kept = weight.detach().clone()
        nn.init.zeros_(weight)
        assert all(not torch.equal(after, before[task]) for task, after in outputs().items())
        weight.data.copy_(kept)


# Weights from a file


def state_of_torchvision(seed):
    torch.manual_seed(seed)
    state = resnet_encoder(BLOCKS, 4, None).state_dict()
    return state | {"fc.weight": torch.zeros(1000, 128), "fc.bias": torch.zeros(1000)}


@pytest.mark.parametrize("build", RESNETS)
def test_weights_of_a_file_are_the_encoders(build, tmp_path):
    state = state_of_torchvision(seed=7)
    torch.save(state, tmp_path / "resnet.pth")
    model = build(OUTPUTS, BLOCKS, width=4, aspp_channels=8, weights=tmp_path / "resnet.pth")
    theirs = [value for name, value in state.items() if not name.startswith("fc.")]
    ours, theirs = (
        [value.numpy().tobytes() for value in each] for each in (model.encoder.state_dict().values(), theirs)
    )
    # In the network with attention, each stage's last block stands apart.
    assert ours == theirs if build is dilated_resnet else sorted(ours) == sorted(theirs)
    normalise = (model.encoder if build is dilated_resnet else model.encoder.stem)[0]
    assert normalise(torch.full((1, 3, 8, 8), 0.456))[0, :, 0, 0].tolist() == pytest.approx(
        [-0.1266, 0, 0.2222], abs=1e-4
    )


def write_nothing(path):
    pass


def write_cut_file(path):
    torch.save(state_of_torchvision(0), path)
    path.write_bytes(path.read_bytes()[:1000])


def write_text(path):
    path.write_text("not a state dict")


def write_list(path):
    torch.save([torch.zeros(3)], path)


def write_other_network(path):
    torch.save(resnet_encoder((2, 2, 2, 3), 4, None).state_dict(), path)


def write_other_width(path):
    torch.save(resnet_encoder(BLOCKS, 2, None).state_dict(), path)


@pytest.mark.parametrize(
    "write", [write_nothing, write_cut_file, write_text, write_list, write_other_network, write_other_width]
)
def test_broken_or_unfitting_weights(write, tmp_path):
    path = tmp_path / "resnet50.pth"
    write(path)
    with pytest.raises(InputError, match=r"resnet50\.pth: not the weights .* \(.+\); give a file") as error:
        dilated_resnet(OUTPUTS, BLOCKS, width=4, aspp_channels=8, weights=path)
    assert "\n" not in str(error.value)


def test_pretrained_weights_are_looked_for_in_two_folders(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    own = folders.data() / "weights" / "imagenet" / "resnet50-0676ba61.pth"
    downloaded = tmp_path / "hub" / "checkpoints" / "resnet50-0676ba61.pth"
    # torchvision's other weights, of a newer recipe, would be another start under the same settings
    for path in (own, own.with_name("resnet18.pth"), downloaded.with_name("resnet50-11ad3fa6.pth")):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert pretrained_weights() == own
    downloaded.touch()
    assert pretrained_weights() == downloaded


def test_pretrained_weights_are_downloaded_and_checked(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    asked = []

    def download(url, path, hash_prefix):
        asked.append((url, hash_prefix))
        Path(path).touch()

    monkeypatch.setattr(torch.hub, "download_url_to_file", download)
    assert pretrained_weights() == tmp_path / "hub" / "checkpoints" / "resnet50-0676ba61.pth"
    assert asked == [("https://download.pytorch.org/models/resnet50-0676ba61.pth", "0676ba61")]


@pytest.mark.parametrize("error", [URLError("no network"), OSError("no space left"), RuntimeError("invalid hash")])
def test_pretrained_weights_that_cannot_be_downloaded(error, tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", Mock(side_effect=error))
    with pytest.raises(InputError, match=r"cannot be downloaded .*resnet50-0676ba61\.pth .*pretrained to false"):
        pretrained_weights()


# What users get wrong


@pytest.mark.parametrize(("build", "multiple"), [*((each, 32) for each in SEGNETS), *((each, 8) for each in RESNETS)])
@pytest.mark.parametrize(("height", "width"), [(36, 32), (32, 33), (1, 1)])
def test_sides_that_are_no_multiples(build, multiple, height, width):
    with pytest.raises(InputError, match=rf"multiples of {multiple}, got {height}×{width}; resize") as error:
        small(build)(images(2, height, width))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("build", SEGNETS)
def test_no_segnet_without_channels(build):
    with pytest.raises(InputError, match=r"1 or more; got 0$"):
        build(OUTPUTS, width=0)


@pytest.mark.parametrize(
    ("build", "layers", "width"),
    [
        *((dilated_resnet, layers, 4) for layers in [(), (3, 4, 6), (3, 4, 6, 0), (1, 1, 1, 1, 1)]),
        *((dilated_resnet_mtan, layers, 4) for layers in [(), (2, 2, 2), (2, 2, 2, 1)]),
        *((build, BLOCKS, 0) for build in RESNETS),
    ],
)
def test_no_residual_network_of_other_sizes(build, layers, width):
    with pytest.raises(InputError, match=r"four (numbers of blocks|layers)") as error:
        build(OUTPUTS, layers, width)
    assert "\n" not in str(error.value)
