"""When an ended child is started again."""

from phoenix.cli.embedded.children import ChildCannotStart, RestartRule

RULE = RestartRule(steady_s=10, attempts=3, delay_s=0.5, final=frozenset({78}))


def test_a_child_that_lived_long_is_started_again_soon():
    assert RULE.next_delay_s(0, 1) == 0.5


def test_early_deaths_are_waited_for_longer_and_longer():
    assert [RULE.next_delay_s(deaths, 1) for deaths in (1, 2)] == [0.5, 1]


def test_a_child_that_keeps_dying_early_is_given_up():
    assert RULE.next_delay_s(3, 1) is None


def test_a_child_that_finds_its_settings_unusable_is_given_up_at_once():
    assert RULE.next_delay_s(1, 78) is None


def test_the_reason_names_the_child_and_how_it_ended():
    assert "API process cannot start: it ended with status 3" in str(ChildCannotStart("API process", 3))
    assert "media worker cannot start: it was killed by signal 9" in str(ChildCannotStart("media worker", -9))
