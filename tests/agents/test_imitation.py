import numpy as np
import pytest
import torch

from dispatchgym.agents.imitation import (
    Imitation,
    LabelBuffer,
    RuleTeacher,
    label_loss,
    regret_loss,
)
from dispatchgym.agents.problems.job_shop.teachers import (
    RolloutTeacher,
    ShopRuleTeacher,
    rewards_to_come,
)
from dispatchgym.envs.core.errors import ParameterError
from dispatchgym.models import build_network


def make_imitation(vec, teacher, **changes):
    torch.manual_seed(0)
    network = build_network("job_shop", {"hidden": 16, "layers": 1})
    settings = {
        "label_every": 2,
        "loss": "labels",
        "temperature": 0.005,
        "batch_size": 32,
        "reuse": 4.0,
        "capacity": 2000,
        "value_coefficient": 0.5,
        "max_grad_norm": 0.5,
        "device": torch.device("cpu"),
        "rng": np.random.default_rng(0),
        **changes,
    }
    optimizer = torch.optim.Adam(network.parameters(), lr=5e-3)
    return Imitation(vec, teacher, network, optimizer, **settings)


def test_costs_of_a_rule_single_out_its_action(make_vec):
    vec = make_vec()
    vec.reset(seed=0)
    for teacher in (RuleTeacher("mwkr"), ShopRuleTeacher("mwkr")):
        costs, value = teacher.label(vec)
        assert np.array_equal(costs.argmin(axis=1), vec.rule_action("mwkr"))
        assert np.array_equal(np.isfinite(costs), vec.action_masks())
        assert np.isnan(value).all()


def test_a_limit_holds_jobs_back(make_vec):
    vec = make_vec(scenario="random_6x4", mode="blocking")
    vec.reset(seed=0)
    teacher = ShopRuleTeacher("blkrel", limit=1.0)
    waited = 0
    for _ in range(60):
        in_shop = vec.simulation.observations["jobs"][:, :, 0].sum(axis=1)
        actions = teacher.act(vec)
        waits = actions == 6
        assert (in_shop[waits] >= 2).all()
        waited += waits.sum()
        vec.step(actions)
    assert waited > 10


def test_a_rule_knows_what_comes_of_its_action_from_rollouts(make_vec):
    vec = make_vec()
    vec.reset(seed=0)
    _, value = ShopRuleTeacher("spt", bases=(("spt", 0),)).label(vec)
    values = vec.rollout_values((("spt", 0),))
    makespan = values[np.arange(4), vec.rule_action("spt")]
    assert np.array_equal(value, rewards_to_come(vec, makespan))


def test_costs_of_a_rollout_are_relative_losses(make_vec):
    vec = make_vec()
    vec.reset(seed=0)
    bases = (("spt", 0), ("blkrel", 2))
    costs, value = RolloutTeacher(bases).label(vec)
    values = vec.rollout_values(bases)
    outcome = np.nanmin(values, axis=1)
    assert np.array_equal(value, rewards_to_come(vec, outcome))
    legal = vec.action_masks()
    expected = (values / outcome[:, None] - 1.0)[legal]
    np.testing.assert_allclose(costs[legal], expected, atol=1e-6)
    assert np.isinf(costs[~legal]).all()


def test_a_margin_favours_the_leading_rule(make_vec):
    vec = make_vec()
    vec.reset(seed=0)
    bases, rows = (("spt", 0), ("blkrel", 2)), np.arange(4)
    teacher = RolloutTeacher(bases, margin=0.05)
    plain, outcome = RolloutTeacher(bases).label(vec)
    costs, same = teacher.label(vec)
    led = teacher.act(vec)
    assert np.array_equal(outcome, same)
    assert (costs.min(axis=1) == 0).all()
    assert ((costs[rows, led] == 0) == (plain[rows, led] <= 0.0526)).all()


def test_equal_costs_share_the_label():
    costs = torch.tensor([[0.0, 0.0, float("inf"), 1.0]])
    spread = torch.tensor([[3.0, 3.0, -1e8, -9.0]])
    one_sided = torch.tensor([[6.0, 0.0, -1e8, -9.0]])
    assert label_loss(spread, costs, 0.01) < label_loss(one_sided, costs, 0.01)
    assert label_loss(spread, costs, 0.01).item() == pytest.approx(np.log(2), abs=1e-3)


def test_the_regret_is_the_mean_cost_of_what_is_drawn():
    costs = torch.tensor([[0.0, 2.0, torch.inf], [1.0, 0.0, 4.0]])
    logits = torch.tensor([[0.0, 0.0, -1e8], [0.0, np.log(2), 0.0]], requires_grad=True)
    loss = regret_loss(logits, costs)
    # 0 and 2, each as likely; 1, 0 and 4 with 1/4, 1/2 and 1/4.
    assert loss.item() == pytest.approx((1.0 + 1.25) / 2)
    loss.backward()
    assert torch.isfinite(logits.grad).all()
    even = torch.zeros(1, 2, requires_grad=True)
    regret_loss(even, torch.zeros(1, 2)).backward()
    assert not even.grad.any()


def test_an_unknown_loss_is_refused(make_vec):
    vec = make_vec()
    with pytest.raises(ParameterError, match=r"imitation.loss: found 'squares'"):
        make_imitation(vec, RuleTeacher("mwkr"), loss="squares")


def test_the_student_learns_a_rule_by_regret(make_vec):
    vec = make_vec()
    vec.reset(seed=0)
    imitation = make_imitation(vec, RuleTeacher("mwkr"), loss="regret")
    first = None
    for _ in range(60):
        imitation.collect(0.0)
        record = imitation.update()
        first = first or record
    assert record["regret"] < 0.7 * first["regret"]


def test_the_buffer_keeps_the_latest_rows():
    buffer = LabelBuffer(5)
    for start in (0, 3, 6):
        buffer.add({"x": np.arange(start, start + 3)})
    assert buffer.size == 5
    drawn = buffer.draw(200, np.random.default_rng(0))["x"]
    assert set(drawn) == {4, 5, 6, 7, 8}


def test_the_student_learns_a_rule(make_vec):
    vec = make_vec(16, allow_wait="never")
    vec.reset(seed=2**40)
    imitation = make_imitation(vec, RuleTeacher("mwkr"))
    agreement = []
    for round_number in range(80):
        imitation.collect(min(round_number / 40, 1.0))
        record = imitation.update()
        if record:
            agreement.append(record["agreement"])
    assert np.mean(agreement[-10:]) > np.mean(agreement[:5]) + 0.15
    assert np.mean(agreement[-10:]) > 0.85


def test_values_are_the_rewards_to_come(make_vec):
    """Under the rule that completes the rollouts, the label's value is what is then earned."""
    vec = make_vec(2, scenario="ft06", mode="blocking", allow_wait="never", reward="lb_delta")
    vec.reset(seed=0)
    teacher = ShopRuleTeacher("spt", bases=(("spt", 0),))
    values, rewards = [], []
    for _ in range(200):
        values.append(teacher.label(vec)[1][0])
        _, reward, terminated, _, _ = vec.step(vec.rule_action("spt"))
        rewards.append(reward[0])
        if terminated[0]:
            break
    assert terminated[0]
    to_come = np.cumsum(rewards[::-1])[::-1]
    np.testing.assert_allclose(values, to_come, atol=1e-9)
    assert to_come[0] < 0


def test_labels_reach_the_buffer_with_their_values(make_vec):
    vec = make_vec(2)
    vec.reset(seed=0)
    imitation = make_imitation(vec, RolloutTeacher((("spt", 0),)), label_every=1)
    for _ in range(3):
        costs, value = imitation.teacher.label(vec)
        imitation.collect(0.0)
        newest = slice(imitation.buffer.size - 2, imitation.buffer.size)
        assert np.array_equal(imitation.buffer._arrays["costs"][newest], costs)
        assert np.array_equal(imitation.buffer._arrays["value"][newest], value.astype(np.float32))
