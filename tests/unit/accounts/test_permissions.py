"""Who may do what for whom."""

from dataclasses import dataclass

import pytest

from penstock.accounts.bootstrap import PLANS
from penstock.accounts.permissions import acting_for, org_filter, owned, owns, require, require_submitter
from penstock.domain.errors import NotFound, PermissionDenied
from penstock.domain.principal import KeyActor, OrganisationActor, Principal, Scope


def caller(*scopes: Scope) -> Principal:
    return Principal("org_a", KeyActor("key_a"), PLANS[0], frozenset(scopes))


@dataclass(frozen=True)
class Record:
    org_id: str | None


def test_a_missing_scope_is_refused_by_name() -> None:
    with pytest.raises(PermissionDenied, match="'keys:write'"):
        require(caller(Scope.INFERENCE), Scope.KEYS_WRITE)


@pytest.mark.parametrize("held", [Scope.KEYS_WRITE, Scope.USAGE_READ, Scope.ADMIN])
def test_the_scope_an_alternative_or_admin_is_enough(held: Scope) -> None:
    require(caller(held), Scope.KEYS_WRITE, Scope.USAGE_READ)


@pytest.mark.parametrize(
    ("scope", "kinds", "allowed"),
    [
        (Scope.INFERENCE, {"inference"}, True),
        (Scope.INFERENCE, {"inference", "function"}, False),
        (Scope.INFERENCE, {"webhook"}, False),
        (Scope.INFERENCE, set(), False),
        (Scope.TASKS_WRITE, {"inference", "function"}, True),
        (Scope.USAGE_READ, {"inference"}, False),
        (Scope.ADMIN, {"function"}, True),
    ],
)
def test_which_scope_submits_which_kinds(scope: Scope, kinds: set[str], allowed: bool) -> None:
    if allowed:
        require_submitter(caller(scope), kinds)
        return
    with pytest.raises(PermissionDenied, match="'tasks:write'"):
        require_submitter(caller(scope), kinds)


@pytest.mark.parametrize(
    ("scope", "org_id", "expected"),
    [
        (Scope.INFERENCE, "org_a", True),
        (Scope.INFERENCE, "org_b", False),
        (Scope.INFERENCE, None, False),
        (Scope.ADMIN, "org_b", True),
        (Scope.ADMIN, None, True),
    ],
)
def test_only_an_administrator_owns_what_is_foreign_or_the_platforms(scope: Scope, org_id: str | None, expected: bool) -> None:
    assert owns(caller(scope), org_id) is expected


def test_a_foreign_record_is_answered_like_a_missing_one() -> None:
    with pytest.raises(NotFound) as missing:
        owned(caller(Scope.INFERENCE), None, "key")
    with pytest.raises(NotFound) as foreign:
        owned(caller(Scope.INFERENCE), Record("org_b"), "key")
    assert str(missing.value) == str(foreign.value) == "There is no such key."


def test_an_own_record_is_handed_back() -> None:
    record = Record("org_a")
    assert owned(caller(Scope.INFERENCE), record, "key") is record


def test_a_query_of_an_ordinary_caller_stays_inside_its_organisation() -> None:
    assert org_filter(caller(Scope.INFERENCE)) == "org_a"
    assert org_filter(caller(Scope.INFERENCE), "org_a") == "org_a"
    with pytest.raises(NotFound, match="organisation"):
        org_filter(caller(Scope.INFERENCE), "org_b")


def test_administrator_query_covers_the_named_organisation_or_all() -> None:
    assert org_filter(caller(Scope.ADMIN)) is None
    assert org_filter(caller(Scope.ADMIN), "org_b") == "org_b"


@pytest.mark.parametrize("org_id", [None, "org_a"])
@pytest.mark.parametrize("scope", [Scope.INFERENCE, Scope.ADMIN])
def test_a_caller_who_names_no_other_organisation_acts_as_itself(scope: Scope, org_id: str | None) -> None:
    asking = caller(scope)
    assert acting_for(asking, org_id) is asking


def test_an_administrator_who_names_an_organisation_acts_in_its_name() -> None:
    acting = acting_for(caller(Scope.ADMIN), "org_b")
    assert (acting.org_id, acting.actor, acting.actor_id) == ("org_b", OrganisationActor("org_b"), "org_b")


def test_an_ordinary_caller_cannot_act_for_another_organisation() -> None:
    with pytest.raises(NotFound, match="organisation"):
        acting_for(caller(Scope.INFERENCE, Scope.TASKS_WRITE), "org_b")
