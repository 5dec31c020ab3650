"""The rules of SCIM that a schema cannot express, for schemathesis; openapi.py loads this file."""

import json
import re

import schemathesis
from hypothesis import strategies as st
from schemathesis.core.parameters import ParameterLocation
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance, response_schema_conformance, use_after_free

TEXTS, FLAGS, MOMENTS = ["userName", "displayName", "externalId", "emails.value", "members.value", "id"], ["active"], ["meta.created", "meta.lastModified"]

PATHS = [
    "active", "displayName", "externalId", "userName", "password", "name", "name.givenName", "emails", "emails.value", 'emails[type eq "work"]',
    'emails[type eq "work"].value', "addresses[primary eq true]", "x509Certificates", "members", 'members[value eq "1"]', "groups", "id", "meta.created",
    "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:manager", "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User", "number", "weight",
    "urn:example:2.0:Device:bought", "parts[value gt 3].label", "nothing", "nothing[",
]


def comparison(names, operators, values):
    return st.builds(lambda name, operator, value: f"{name} {operator} {json.dumps(value)}", st.sampled_from(names), st.sampled_from(operators), values)


TERMS = st.one_of(
    comparison(TEXTS, ["eq", "ne", "co", "sw", "ew", "gt", "ge", "lt", "le"], st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=10)),
    comparison(FLAGS, ["eq", "ne"], st.booleans()),
    comparison(MOMENTS, ["eq", "ne", "gt", "ge", "lt", "le"], st.datetimes().map(lambda moment: moment.isoformat() + "Z")),
    st.sampled_from(TEXTS + FLAGS + MOMENTS).map(lambda name: f"{name} pr"),
    st.sampled_from(["work", "home"]).map(lambda label: f'emails[type eq "{label}" and value co "@"]'),
)
FILTERS = st.recursive(
    TERMS,
    lambda inner: st.one_of(
        st.builds(lambda one, word, other: f"{one} {word} {other}", inner, st.sampled_from(["and", "or"]), inner),
        inner.map(lambda one: f"({one})"),
        inner.map(lambda one: f"not ({one})"),
    ),
    max_leaves=5,
)
schemathesis.openapi.format("scim-filter", FILTERS)
schemathesis.openapi.format("scim-path", st.sampled_from(PATHS))
# Only the server makes cursors; the empty one asks for the first page.
schemathesis.openapi.format("scim-cursor", st.just(""))


@schemathesis.hook
def map_headers(context, headers):
    """Makes about half of the conditions true: a random tag matches no version, so every request would fail there."""
    headers = dict(headers or {})
    if len(str(headers.get("If-Match", ""))) % 2:
        headers["If-Match"] = "*"
    if len(str(headers.get("If-None-Match", ""))) % 2:
        del headers["If-None-Match"]
    return headers


# Where a schema cannot express a rule, these checks replace the originals, which openapi.py leaves out.


@schemathesis.check
def accepts_what_is_described(ctx, response, case):
    """positive_data_acceptance, except for versions (412), the paths of a PATCH, and a cursor with a startIndex."""
    if response.status_code != 412 and not (case.method == "PATCH" and names_paths(case.body)) and not {"cursor", "startIndex"} <= set(case.query or {}):
        positive_data_acceptance(ctx, response, case)


def names_paths(patch):
    operations = patch.get("Operations") if isinstance(patch, dict) else None
    return isinstance(operations, list) and any(isinstance(operation, dict) and "path" in operation for operation in operations)


@schemathesis.check
def refuses_what_is_not_described(ctx, response, case):
    """negative_data_rejection, but for the tolerances of docs/scim.md."""
    if response.status_code != 412 and not is_tolerated(case):
        negative_data_rejection(ctx, response, case)


def is_tolerated(case):
    """Whether the defect of a request may be tolerated."""
    tags = [value for name, value in (case.headers or {}).items() if name.lower() in ("if-match", "if-none-match")]
    return (
        # The description of a body is strict, but a defect may be tolerated, unless the body is no object or list.
        isinstance(case.body, (dict, list)) and is_negative(case, ParameterLocation.BODY)
        # An empty parameter counts as absent.
        or "" in (case.query or {}).values()
        # An unknown sort order counts as the default.
        or (case.query or {}).get("sortOrder", "ascending") not in ("ascending", "descending")
        # A malformed tag matches no version.
        or any(not re.fullmatch(r'\*|(W/)?"[^"]*"(, *(W/)?"[^"]*")*', str(tag)) for tag in tags)
        # OPTIONS describes the path, even if no resource is there.
        or case.method == "OPTIONS"
    )


def is_negative(case, location):
    part = case.meta.components.get(location) if case.meta else None
    return part is not None and part.mode.is_negative


@schemathesis.check
def answers_as_described(ctx, response, case):
    """response_schema_conformance, except for a 201 without a body, which the client has asked for."""
    if response.headers.get("preference-applied") != ["return=minimal"]:
        response_schema_conformance(ctx, response, case)


@schemathesis.check
def nothing_is_left_of_what_was_deleted(ctx, response, case):
    """use_after_free, except for OPTIONS, which describes the path."""
    if case.method != "OPTIONS":
        use_after_free(ctx, response, case)
