"""What a model is handed from outside (a state, a tap) fits, or is one clear line; what is shown cannot reach it."""

import re

import pytest
import torch

import families
from unrolled.errors import ConfigError
from unrolled.models import Edit, ModelConfig, StackConfig, Watch, parse_layers, rows
from unrolled.models.convolution import convolution_weight, dilation_of


def tokens(batch: int, time: int) -> torch.Tensor:
    return torch.randint(families.VOCAB, (batch, time), generator=torch.Generator().manual_seed(0))


def refused(call, *words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        call()
    message = str(caught.value)
    assert message.isprintable()
    for word in words:
        assert word in message, message


class Snoop(families.Memoryless):
    """It notes what it is handed, hands back what is not its own, and keeps a state if told its name."""

    def __init__(self, width, *own, returns=None):
        super().__init__(width)
        self.own, self.returns, self.handed = own, returns, []

    def initial_state(self, batch):
        return {name: torch.zeros(batch, 2) for name in self.own}

    def forward(self, x_BTD, state, tap=families.untouched):
        self.handed.append(set(state))
        foreign = {"average": torch.full((len(x_BTD), self.width), 9.0), "bait": torch.ones(len(x_BTD))}
        y_BTD, _ = super().forward(x_BTD, state, tap)
        return y_BTD, {**state, **foreign} if self.returns is None else self.returns


def stack_of(*layers):
    class Made(families.LeakyConfig):
        def build(self, width, index):
            return tuple(layer(width) for layer in layers)

    torch.manual_seed(0)
    return ModelConfig(stack=StackConfig(width=4), layers=(Made(),)).build(families.VOCAB).eval()


@pytest.mark.parametrize("own", [(), ("note",)])
def test_a_branch_is_handed_its_own_state_and_cannot_reach_its_siblings(own):
    model = stack_of(lambda width: families.Leaky(width, 0.3), lambda width: Snoop(width, *own))
    calm = stack_of(lambda width: families.Leaky(width, 0.3), families.Memoryless)
    state, xs = None, tokens(2, 5)
    for start, stop in ((0, 3), (3, 5)):
        _, state = model(xs[:, start:stop], state)
    _, expected = calm(xs)
    assert set(state) == {"layer0.average", *(f"layer0.{name}" for name in own)}
    torch.testing.assert_close(state["layer0.average"], expected["layer0.average"])
    assert model.branches[1].handed == [set(own)] * 2


def test_a_layer_that_loses_its_state_is_named():
    model = stack_of(lambda width: Snoop(width, "note", returns={}))
    refused(lambda: model(tokens(2, 3)), "layer0.note", "none")


@pytest.mark.parametrize("time", [0, 1, 9])
def test_a_state_that_does_not_fit_is_one_clear_line(time):
    model, xs = families.model("lstm"), tokens(2, time)
    state = dict(model.initial_state(2))
    lost = {name: value for name, value in state.items() if name != "layer1.cell"}
    refused(lambda: model(xs, lost), "a state with layer1.cell")
    refused(lambda: model(xs, {}), "a state with layer0.hidden")
    refused(lambda: model(xs, {**state, "layer2.cell": state["layer1.cell"]}), "one with layer2.cell")
    for batch in (1, 3):
        refused(lambda batch=batch: model(xs, model.initial_state(batch)), "2 rows", f"({batch}, 8)", "rows(state")
    refused(lambda: model(xs, {**state, "layer0.cell": state["layer0.cell"][:1]}), "layer0.cell of shape (1, 8)")
    refused(lambda: model(xs, {**state, "layer0.cell": torch.tensor(0.0)}), "layer0.cell of shape ()")
    logits, _ = model(xs, rows(model.initial_state(1), torch.tensor([0, 0])))
    assert logits.shape == (2, time, families.VOCAB)


@pytest.mark.parametrize("name", sorted(families.PATTERNS))
@pytest.mark.parametrize("plain", [False, True])
def test_an_edit_of_another_shape_is_refused_for_every_group(name, plain):
    model, xs = families.model(name, plain=plain), tokens(2, 3)
    for group, size in model.units.items():
        for change in (
            lambda _, value: value.mean(),
            lambda _, value: value[:1],
            lambda _, value: value[:, :, :1],
            lambda _, value: value[None],
            lambda _, value: None,
            lambda _, value: 0.0,
        ):
            edit = Edit(change, pattern=re.escape(group))
            refused(lambda edit=edit: model(xs, tap=edit), f"an edit of {group} ", f", {size})")


def test_an_edit_of_another_shape_says_both_shapes():
    edit = Edit(lambda _, value: value[..., :1])
    refused(lambda: edit("layer0.cell", torch.zeros(2, 3, 4)), "layer0.cell", "(2, 3, 4)", "(2, 3, 1)")
    refused(lambda: Edit(lambda *_: None)("layer0.cell", torch.zeros(2, 3, 4)), "NoneType")


def test_a_watcher_is_shown_a_copy():
    seen, value = [], torch.ones(1, 2, 3, requires_grad=True)
    assert Watch(lambda name, shown: seen.append((name, shown)))("cell", value) is value
    ((name, shown),) = seen
    assert name == "cell" and not shown.requires_grad
    shown.zero_()
    assert (value == 1).all()


@pytest.mark.parametrize("tap", [Watch, Edit])
@pytest.mark.parametrize("pattern", ["layer0.(", "[", "*", "(?P<a>x)(?P<a>y)", "a{99999999999999}", "\x00("])
def test_a_pattern_that_is_no_regular_expression(tap, pattern):
    refused(lambda: tap(lambda *_: None, pattern), "a regular expression", "re.escape")


def test_both_convolutional_families_start_and_end_at_the_same_dilations():
    assert [dilation_of(index, 3) for index in range(7)] == [1, 2, 4, 1, 2, 4, 1]
    for family in ("tcn", "wavenet"):
        for options in ("kernel=1", "kernel=65", "cycle=0", "cycle=15"):
            refused(
                lambda family=family, options=options: parse_layers(f"{family}({options})"),
                "a kernel of 2 to 64 and a cycle of 1 to 14",
                options.replace("=", " "),
            )


def test_a_convolutions_weights_are_drawn_as_torch_draws_them():
    torch.manual_seed(4)
    ours = convolution_weight(6, 3, 5)
    theirs = torch.nn.Conv1d(5, 6, 3).weight
    assert ours.shape == (6, 3, 5)
    assert ours.abs().max() <= 15**-0.5 and theirs.abs().max() <= 15**-0.5
    assert ours.abs().max() > 0.9 * 15**-0.5
