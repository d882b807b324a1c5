"""What scores are measured against: optimum, best known value or bound."""

import math

import pytest

from dispatchgym.agents.arena import Episode
from dispatchgym.agents.problems.job_shop import find_reference, find_settings, problem
from dispatchgym.envs.core.errors import EvaluationError, ParameterError
from dispatchgym.envs.job_shop import Instance, Interrupts, make_instance


def exact(objective, bound):
    return Episode(objective, {}, "finished", 1.0, bound)


def tiny(**bounds):
    return Instance.from_jobs([[(0, 2), (1, 3)], [(1, 2), (0, 4)]], name="tiny", bounds=bounds)


def test_classic_by_default():
    (setting,) = find_settings()
    assert (setting.mode, setting.interrupts, setting.probability) == ("classic", None, None)
    assert setting.environment() == {"mode": "classic", "interrupts": None}


def test_interrupting_has_the_default_shutdowns():
    (setting,) = find_settings({"mode": "interrupting", "wip_cap": 4})
    assert setting.interrupts == Interrupts()
    assert setting.probability == 0.1
    assert setting.environment() == {
        "mode": "blocking",
        "interrupts": Interrupts(),
        "wip_cap": 4,
    }


def test_each_probability_is_a_setting():
    settings = find_settings({"mode": "interrupting"}, [0.0, 0.2])
    assert [s.probability for s in settings] == [0.0, 0.2]
    assert settings[0].interrupts is None  # nothing shuts down: the blocking problem
    assert settings[1].interrupts == Interrupts(probability=0.2)


def test_blocking_with_shutdowns_is_interrupting():
    (setting,) = find_settings({"mode": "blocking", "interrupts": Interrupts(probability=0.2)})
    assert (setting.mode, setting.probability) == ("interrupting", 0.2)
    (again,) = find_settings(setting.environment())
    assert again == setting


def test_classic_with_shutdowns():
    (setting,) = find_settings({"mode": "classic", "interrupts": {"policy": "restart"}}, [0.3])
    assert setting.environment()["mode"] == "classic"
    assert setting.interrupts == Interrupts(policy="restart", probability=0.3)


def test_probabilities_drawn_for_each_episode():
    drawn = {"kind": "per_operation", "probability": [0.0, 0.2]}
    (setting,) = find_settings({"mode": "interrupting", "interrupts": drawn})
    assert setting.probability is None
    found = setting.drawn({"interrupt_probability": 0.2})
    assert found.probability == 0.2
    assert found.interrupts == Interrupts(probability=0.2)


@pytest.mark.parametrize(
    ("options", "probabilities", "words"),
    [
        ({"mode": "classic"}, [0.1], "mode=interrupting"),
        ({"mode": "interrupting"}, [], "empty"),
        ({"mode": "interrupting"}, [1.5], "probability"),
        ({"mode": "interrupting", "interrupts": {"odds": 1}}, None, "odds"),
    ],
)
def test_wrong_settings(options, probabilities, words):
    with pytest.raises(ParameterError, match=words):
        find_settings(options, probabilities)


def test_options_from_the_configuration():
    env = {"name": "job_shop", "scenario": "x", "mode": "classic", "interrupts": {"kind": "none"}}
    assert problem.environment_options(env) == {"mode": "classic", "interrupts": None}
    assert problem.environment_options(env, "interrupting")["interrupts"] == {"kind": "none"}
    assert problem.environment_options(env, levels=True)["interrupts"] == {"kind": "none"}


def reference(instance, mode="classic", probabilities=None, episode=None, seed=0, **options):
    (setting,) = find_settings({"mode": mode, **options}, probabilities)
    return find_reference(setting, instance, seed, episode)


def test_proven_optimum_of_the_literature():
    found = reference(make_instance("ft06", 0))
    assert (found.value, found.kind, found.bound) == (55, "optimum", 55)
    found = reference(make_instance("ft06", 0), "blocking")
    assert (found.value, found.kind) == (63, "optimum")


def test_best_known_where_nothing_is_proven():
    found = reference(make_instance("la11", 0), "blocking")
    assert (found.value, found.kind, found.bound) == (1476, "best_known", 1222)


def test_bound_where_nothing_is_known():
    found = reference(tiny())
    assert found.kind == "bound"
    assert found.value == found.bound <= 6


def test_solver_proves_what_is_not_in_the_literature():
    assert reference(tiny(), episode=exact(6.0, 6.0))[:2] == (6.0, "optimum")


def test_solver_without_proof_raises_the_bound_only():
    bound = reference(tiny()).bound
    found = reference(tiny(), episode=exact(50.0, bound + 0.5))
    assert found[:2] == (bound + 0.5, "bound")


def test_solver_improves_a_best_known_value():
    found = reference(make_instance("la11", 0), "blocking", episode=exact(1470.0, 1230.0))
    assert found == (1470.0, "best_known", 1230.0)


def test_blocking_values_do_not_hold_without_swap():
    with_swap = reference(make_instance("ft06", 0), "blocking")
    without = reference(make_instance("ft06", 0), "blocking", swap=False)
    assert without.kind == "bound" and without.value == with_swap.value


def test_shutdowns_are_measured_against_a_bound_of_the_episode():
    instance = make_instance("la01", 0)
    cheap = reference(instance, "interrupting", [0.2], seed=7)
    assert cheap.kind == "bound"
    solved = reference(instance, "interrupting", [0.2], exact(1026.0, 1026.0), seed=7)
    assert (solved.value, solved.kind) == (1026.0, "bound")
    assert cheap.value <= solved.value
    undisturbed = reference(instance, "interrupting", [0.0], seed=7)
    assert (undisturbed.value, undisturbed.kind) == (793, "optimum")


def test_a_bound_above_a_makespan_that_was_reached_is_an_error():
    with pytest.raises(EvaluationError, match=r"55 .*60 is a proven"):
        reference(make_instance("ft06", 0), episode=Episode(math.nan, {}, "truncated", 1.0, 60.0))
