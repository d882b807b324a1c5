"""Soft actor-critic: finds known optima of masked problems, on any environment; kept, resumed."""

from typing import NamedTuple

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3.common.vec_env import DummyVecEnv

from dispatchgym.agents.sac import DiscreteSAC
from dispatchgym.agents.sac_policy import DiscreteSACPolicy, choose, legal_mean
from dispatchgym.envs.core.adapters import to_sb3
from dispatchgym.envs.core.errors import CheckpointError, ParameterError

STATES, ACTIONS, DISCOUNT = 10, 4, 0.9
TEMPTATION = 50.0


class Maze(NamedTuple):
    """A random decision process with two rewards.

    Attributes:
        transitions: (S, A, S).
        rewards: (S, A, 2); illegal actions would pay best, so that a policy which can take them
            is found out.
        legal: (S, A).
    """

    transitions: np.ndarray
    rewards: np.ndarray
    legal: np.ndarray


def make_maze(seed):
    rng = np.random.default_rng(seed)
    legal = rng.random((STATES, ACTIONS)) < 0.6
    legal[np.arange(STATES), rng.integers(0, ACTIONS, STATES)] = True
    legal[0] = [True, False, False, False]
    transitions = rng.dirichlet(np.full(STATES, 0.3), (STATES, ACTIONS))
    rewards = rng.random((STATES, 1, 2)) + 0.3 * rng.random((STATES, ACTIONS, 2))
    return Maze(transitions, np.where(legal[:, :, None], rewards, TEMPTATION), legal)


def worth(maze, preference, values):
    """What each action is worth, minus infinity where it is illegal."""
    found = maze.rewards @ preference + DISCOUNT * maze.transitions @ values
    return np.where(maze.legal, found, -np.inf)


def value_iteration(maze, preference, temperature=0.0):
    """Values of the best policy; with a temperature, of the best one with its entropy."""
    values = np.zeros(STATES)
    for _ in range(400):
        found = worth(maze, preference, values)
        best = found.max(axis=1)
        if temperature:
            lead = (found - best[:, None]) / temperature
            best += temperature * np.log(np.exp(lead).sum(axis=1))
        values = best
    return values


def policy_values(maze, preference, actions):
    """Values of a policy that takes one action in each state, exactly."""
    rows = np.arange(STATES)
    assert maze.legal[rows, actions].all()
    rewards = maze.rewards[rows, actions] @ preference
    return np.linalg.solve(np.eye(STATES) - DISCOUNT * maze.transitions[rows, actions], rewards)


class MazeEnv(gym.Env):
    """Walks through a maze; every episode is cut off after 20 steps, none ends by itself."""

    def __init__(self, maze, preference=None):
        self.maze, self.preference = self.made_of = maze, preference
        boxes = {
            "state": spaces.Box(0, 1, (STATES,), np.float32),
            "action_mask": spaces.Box(0, 1, (ACTIONS,), np.int8),
        }
        if preference is not None:
            boxes["preference"] = spaces.Box(0, 1, (2,), np.float32)
        self.observation_space = spaces.Dict(boxes)
        self.action_space = spaces.Discrete(ACTIONS)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.state = int(self.np_random.integers(STATES))
        self.left = 20
        return self.observe(), {}

    def observe(self):
        return {key: value[self.state] for key, value in all_states(self).items()}

    def step(self, action):
        assert self.maze.legal[self.state, action], "an illegal action was taken"
        vector = self.maze.rewards[self.state, action]
        weights = np.array([1.0, 0.0]) if self.preference is None else self.preference
        self.state = int(self.np_random.choice(STATES, p=self.maze.transitions[self.state, action]))
        self.left -= 1
        info = {"vector_reward": vector}
        return self.observe(), float(vector @ weights), False, self.left == 0, info


def all_states(env):
    arrays = {
        "state": np.eye(STATES, dtype=np.float32),
        "action_mask": env.maze.legal.astype(np.int8),
    }
    if env.preference is not None:
        arrays["preference"] = np.tile(np.float32(env.preference), (STATES, 1))
    return arrays


def train_on(envs, updates, **changes):
    settings = {
        "learning_rate": 3e-3,
        "learning_starts": 1000,
        "batch_size": 128,
        "gamma": DISCOUNT,
        "tau": 0.05,
        "policy_kwargs": {"settings": {"hidden": 64}},
        "seed": 0,
        **changes,
    }
    vec = DummyVecEnv([lambda env=env: MazeEnv(*env.made_of) for env in envs])
    model = DiscreteSAC("MultiInputPolicy", vec, **settings)
    return model.learn(1000 + len(envs) * updates)


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


# --- known optima ---


@pytest.mark.parametrize("seed", [1, 5, 6])
def test_it_finds_the_optimum_of_a_masked_problem(seed):
    maze, first = make_maze(seed), np.array([1.0, 0.0])
    best = value_iteration(maze, first).mean()
    myopic = worth(maze, first, np.zeros(STATES)).argmax(axis=1)
    assert policy_values(maze, first, myopic).mean() < 0.97 * best
    env = MazeEnv(maze)
    model = train_on([env] * 8, 600, seed=seed)
    actions, _ = model.predict(all_states(env), deterministic=True)
    assert policy_values(maze, first, actions).mean() >= 0.98 * best


def test_one_vector_critic_finds_the_optimum_of_every_preference():
    """Data of two preferences only: all others are learned from steps replayed under them."""
    maze = make_maze(3)
    ends = [MazeEnv(maze, np.array([1.0, 0.0])), MazeEnv(maze, np.array([0.0, 1.0]))]
    model = train_on(ends * 4, 1200, vector_critic=True, relabel=0.5)
    shares, lost = [], []
    for weight in np.linspace(0, 1, 5):
        preference = np.array([weight, 1.0 - weight])
        actions, _ = model.predict(all_states(MazeEnv(maze, preference)), deterministic=True)
        best = value_iteration(maze, preference).mean()
        shares.append(policy_values(maze, preference, actions).mean() / best)
        lost.append(policy_values(maze, np.array([1.0, 0.0]), actions).mean())
    assert min(shares) >= 0.98
    assert lost[-1] > lost[0] + 0.1, "the preference changes what is done"


def test_its_values_are_those_of_soft_value_iteration():
    maze, first, temperature = make_maze(0), np.array([1.0, 0.0]), 0.1
    env = MazeEnv(maze)
    model = train_on([env] * 8, 1500, ent_coef=temperature, tau=0.1, clip_range=None)
    expected = worth(maze, first, value_iteration(maze, first, temperature))
    states = {key: torch.as_tensor(value) for key, value in all_states(env).items()}
    with torch.no_grad():
        found = model.policy.action_values(model.policy.critics, states).mean(dim=0).squeeze(2)
        chosen = model.policy.choice(states).probabilities
    np.testing.assert_allclose(found[maze.legal], expected[maze.legal], rtol=0.03)
    soft = torch.softmax(torch.as_tensor(expected) / temperature, dim=1)
    assert (chosen - soft).abs().max() < 0.15
    assert float(model.log_alpha) == pytest.approx(np.log(temperature))


def test_the_temperature_reaches_the_entropy_of_the_legal_actions():
    env = MazeEnv(make_maze(1))
    model = train_on([env] * 8, 900, target_entropy=0.5)
    states = {key: torch.as_tensor(value) for key, value in all_states(env).items()}
    legal = env.maze.legal.sum(axis=1)
    with torch.no_grad():
        entropy = model.policy.choice(states).entropy.numpy()
    assert (entropy[legal == 1] == 0).all()
    shares = entropy[legal > 1] / np.log(legal[legal > 1])
    assert 0.3 < shares.mean() < 0.7
    assert float(model.log_alpha) < 0


# --- parts ---


def test_probabilities_of_illegal_actions_vanish():
    logits = torch.tensor([[1.0, 2.0, 300.0], [5.0, 1.0, 1.0]], requires_grad=True)
    choice = choose(logits, torch.tensor([[1, 1, 0], [1, 0, 0]]))
    torch.testing.assert_close(choice.probabilities.sum(dim=1), torch.ones(2))
    assert (choice.probabilities[[0, 1, 1], [2, 1, 2]] == 0).all()
    assert choice.entropy[1] == 0
    choice.entropy.sum().backward()
    assert torch.isfinite(logits.grad).all() and logits.grad[0, 2] == 0


def test_a_state_without_legal_actions_gives_no_nan():
    choice = choose(torch.zeros(1, 3), torch.zeros(1, 3))
    assert choice.probabilities.sum() == 0 and choice.entropy == 0


def test_the_mean_of_legal_values():
    values = torch.tensor([[[1.0], [3.0], [100.0]]])
    assert legal_mean(values, torch.tensor([[1, 1, 0]])).item() == 2.0


def small(env=None, **changes):
    settings = {"learning_starts": 4, "batch_size": 4, "buffer_size": 64, "seed": 0}
    settings |= {"policy_kwargs": {"settings": {"hidden": 8}}, **changes}
    return DiscreteSAC("MultiInputPolicy", env or MazeEnv(make_maze(0)), **settings)


def of_critics(model, first, second):
    """What the two critics' opinions (B, A, heads) are merged into."""
    weights = torch.tensor([[[0.25, 1.0]]])
    return model._merge(torch.stack([first, second]), weights)


def test_critics_are_merged_by_their_mean_or_by_the_smaller_scalar():
    first, second = torch.tensor([[[4.0, 0.0]]]), torch.tensor([[[0.0, 2.0]]])
    mean = of_critics(small(average_critics=True), first, second)
    torch.testing.assert_close(mean, torch.tensor([[[2.0, 1.0]]]))
    smaller = of_critics(small(average_critics=False), first, second)
    torch.testing.assert_close(smaller, first)
    torch.testing.assert_close(of_critics(small(average_critics=False), second, first), first)


def test_the_clipped_loss_is_taken_sample_by_sample():
    model = small(clip_range=0.5)
    model.learn(8)
    batch = model.replay_buffer.sample(16)
    target = torch.randn(16, 1)
    with torch.no_grad():
        found = model.policy.action_values(model.policy.critics, batch.observations)
        slow = model.policy.action_values(model.policy.targets, batch.observations)
        found[:] = slow + 2.0 * torch.randn(found.shape)
        expected = []
        for critic in range(2):
            for row, action in enumerate(batch.actions.squeeze(1).tolist()):
                now, then = found[critic, row, action, 0], slow[critic, row, action, 0]
                near = then + torch.clamp(now - then, -0.5, 0.5)
                errors = [(now - target[row, 0]) ** 2, (near - target[row, 0]) ** 2]
                expected.append(max(errors))
        loss = model._critic_loss(batch, found, target)
    torch.testing.assert_close(loss, torch.stack(expected).sum() / 16)


def test_the_actor_waits_for_the_critics():
    model = small(actor_starts=5, gradient_steps=1)
    before = {key: value.clone() for key, value in model.policy.actor.state_dict().items()}
    model.learn(9)
    assert model._n_updates == 5
    after = model.policy.actor.state_dict()
    assert all(torch.equal(value, after[key]) for key, value in before.items())
    model.learn(1, reset_num_timesteps=False)
    after = model.policy.actor.state_dict()
    assert not all(torch.equal(value, after[key]) for key, value in before.items())


def test_warm_up_draws_legal_actions_evenly_and_notes_their_entropy():
    env = MazeEnv(make_maze(0))
    model = small(env, learning_starts=400, buffer_size=400)
    model.learn(400)
    buffer = model.replay_buffer
    states = buffer.observations["state"][:400, 0].argmax(axis=1)
    legal = env.maze.legal[states].sum(axis=1)
    np.testing.assert_allclose(buffer.entropies[:400, 0], np.log(legal), rtol=1e-5, atol=1e-6)
    taken = np.bincount(buffer.actions[:400, 0][legal == 2], minlength=ACTIONS)
    assert len(set(buffer.actions[:400, 0].tolist())) == ACTIONS and taken.sum() > 20


def test_the_entropy_penalty_holds_on_to_the_collecting_policy():
    choice = choose(torch.tensor([[0.0, 0.0]]), torch.ones(1, 2))
    worth_nothing, collected = torch.zeros(1, 2), torch.tensor([[0.2]])
    free = small()._actor_loss(choice, worth_nothing, 0.0, collected)
    held = small(entropy_penalty=0.5)._actor_loss(choice, worth_nothing, 0.0, collected)
    assert (held - free).item() == pytest.approx(0.5 * (np.log(2) - 0.2) ** 2)


# --- keeping ---


def test_a_saved_model_plays_and_learns_on(tmp_path):
    env = MazeEnv(make_maze(0))
    model = small(env, learning_rate=1e-2).learn(40)
    model.save(tmp_path / "model.zip")
    again = DiscreteSAC.load(tmp_path / "model.zip", env=env)
    for key, value in model.policy.state_dict().items():
        assert torch.equal(value, again.policy.state_dict()[key])
    assert torch.equal(model.log_alpha, again.log_alpha) and again.log_alpha.requires_grad
    assert again._n_updates == model._n_updates > 0
    for name in ("actor_optimizer", "critic_optimizer"):
        moments = [getattr(one.policy, name).state_dict()["state"] for one in (model, again)]
        assert moments[0].keys() == moments[1].keys() != set()
        assert torch.equal(moments[0][0]["exp_avg"], moments[1][0]["exp_avg"])
    observation = all_states(env)
    np.testing.assert_array_equal(
        *[one.predict(observation, deterministic=True)[0] for one in (model, again)]
    )
    before = again.log_alpha.item()
    again.learn(20, reset_num_timesteps=False)
    assert again.num_timesteps == 60 and again.log_alpha.item() != before


def test_the_buffer_can_be_kept_too(tmp_path):
    model = small().learn(20)
    model.save_replay_buffer(tmp_path / "buffer.pkl")
    again = small()
    again.load_replay_buffer(tmp_path / "buffer.pkl")
    for key, value in model.replay_buffer.observations.items():
        np.testing.assert_array_equal(value, again.replay_buffer.observations[key])
    one, other = (each.replay_buffer.sample(8) for each in (model, again))
    torch.testing.assert_close(one.rewards, other.rewards)


def test_the_policy_is_kept_by_itself(tmp_path):
    policy = small().policy
    policy.save(tmp_path / "policy.pt")
    again = DiscreteSACPolicy.load(tmp_path / "policy.pt")
    assert again.settings == {"hidden": 8}
    for key, value in policy.state_dict().items():
        assert torch.equal(value, again.state_dict()[key])


def test_the_same_seed_learns_the_same():
    one, other = (small(seed=3).learn(20) for _ in range(2))
    for key, value in one.policy.state_dict().items():
        assert torch.equal(value, other.policy.state_dict()[key])


# --- environments of the suite ---


@pytest.mark.parametrize(
    ("env_id", "scenario", "network", "settings"),
    [
        ("JobShop-v0", "random_3-4x3", "job_shop", {"hidden": 8, "layers": 1}),
        ("SoC-v0", "top3-p2", "soc", {"hidden": 8, "heads": 2}),
        ("UAMFleet-v0", "uam-8x40", "uam", {"hidden": 8, "layers": 1}),
        ("JobShop-v0", "random_3-4x3", None, {}),
    ],
)
def test_it_trains_on_any_masked_environment(env_id, scenario, network, settings):
    vec = gym.make_vec(
        f"dispatchgym:dispatchgym/{env_id}",
        num_envs=4,
        scenario=scenario,
        autoreset_mode="SameStep",
        invalid_action="raise",
    )
    kwargs = {"network": network, "settings": settings}
    model = small(to_sb3(vec), policy_kwargs=kwargs, learning_starts=20, buffer_size=200)
    before = {key: value.clone() for key, value in model.policy.state_dict().items()}
    model.learn(200)
    after = model.policy.state_dict()
    assert all(torch.isfinite(value).all() for value in after.values())
    for part in ("actor", "critics.0", "critics.1", "targets.0"):
        changed = [not torch.equal(before[k], after[k]) for k in before if k.startswith(part)]
        assert any(changed), part


# --- mistakes ---


class Unmasked(gym.Env):
    observation_space = spaces.Dict({"state": spaces.Box(0, 1, (1,), np.float32)})
    action_space = spaces.Discrete(2)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ent_coef": "high"}, "ent_coef: found 'high'"),
        ({"ent_coef": 0.0}, r"ent_coef: found 0\.0"),
        ({"ent_coef": "auto_-1"}, "ent_coef: found 'auto_-1'"),
        ({"relabel": 0.5}, "no 'preference' to change"),
        ({"relabel": 2.0}, r"relabel: found 2\.0"),
        ({"vector_critic": True}, "no 'preference' that could weigh"),
    ],
)
def test_settings_without_meaning_are_refused(changes, message):
    with pytest.raises(ParameterError, match=message):
        small(**changes)


def test_an_environment_without_a_mask_is_refused():
    with pytest.raises(ParameterError, match="found state, expected a Dict with 'action_mask'"):
        small(Unmasked())


def test_a_network_that_does_not_exist_is_refused():
    with pytest.raises(CheckpointError, match="found 'flow_shop'"):
        small(policy_kwargs={"network": "flow_shop"})
    with pytest.raises(CheckpointError, match=r"settings\.outputs"):
        small(
            MazeEnv(make_maze(0), np.array([0.5, 0.5])),
            policy_kwargs={"network": "job_shop"},
            vector_critic=True,
        )
