"""Events of any shape: whose tokens they end is plainly said in them and of their own issuer, or nothing is ended."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from extauthz.events.subjects import chosen, ended_by
from extauthz.tokens.claims import MAX_NAME_CHARACTERS

OWN, OTHER = "https://as.example", "https://other.example"
TOLD = 1_700_000_000
NAMES = st.sampled_from(["alice", "s-1", "", "x" * (MAX_NAME_CHARACTERS + 1)])
ODD = st.none() | st.booleans() | st.integers() | st.lists(st.text(max_size=3), max_size=2)
SIMPLE = st.fixed_dictionaries(
    {"format": st.sampled_from(["opaque", "iss_sub", "jwt_id", "email", "complex"]) | ODD},
    optional={"iss": st.sampled_from([OWN, OTHER]) | ODD, **dict.fromkeys(("id", "sub", "jti"), NAMES | ODD)},
)
COMPLEX = st.fixed_dictionaries(
    {"format": st.just("complex")}, optional=dict.fromkeys(("session", "user", "device"), SIMPLE | ODD)
)
SUBJECTS = SIMPLE | COMPLEX | ODD
TIMES = st.sampled_from([TOLD - 5, TOLD, TOLD + 1, -1, "then", True]) | ODD
EVENTS = st.fixed_dictionaries({}, optional={"subject": SUBJECTS, "event_timestamp": TIMES}) | ODD
CLAIMS = st.fixed_dictionaries({"iss": st.just(OWN), "iat": st.just(TOLD)}, optional={"sub_id": SUBJECTS, "toe": TIMES})
ENDS = st.sampled_from(["sid", "sub", "both"])


def simple_subjects(event, claims):
    """Return every subject that the event names, whatever its place."""
    tops = [holder[name] for holder, name in ((event, "subject"), (claims, "sub_id")) if name in holder]
    tops = [top for top in tops if isinstance(top, dict)]
    members = [top.get(name) for top in tops for name in ("session", "user") if top.get("format") == "complex"]
    return [each for each in (*tops, *members) if isinstance(each, dict)]


@given(EVENTS, CLAIMS, ENDS)
def test_only_what_is_plainly_named_is_ended(event, claims, ends):
    ended = ended_by(event, claims, ends)
    if not ended:
        return
    subjects = simple_subjects(event, claims)
    for kind, value, ended_at in ended:
        assert 0 < len(value) <= MAX_NAME_CHARACTERS
        assert 0 <= ended_at <= TOLD
        key, form = {"sid": ("id", "opaque"), "sub": ("sub", "iss_sub"), "jti": ("jti", "jwt_id")}[kind]
        named = [each for each in subjects if each.get(key) == value and each.get("format") == form]
        assert named
        assert kind == "sid" or any(each.get("iss") == OWN for each in named)
    assert ends != "sub" or all(each.kind != "sid" for each in ended)


@given(EVENTS, CLAIMS)
def test_both_ends_whatever_either_choice_ends(event, claims):
    both = ended_by(event, claims, "both")
    for ends in ("sid", "sub"):
        assert set(ended_by(event, claims, ends)) <= set(both)
        assert chosen(both, ends) == ended_by(event, claims, ends)
