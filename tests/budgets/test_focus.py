"""The FOCUS export is held to the specification's rules, as they are written down here.

The table is taken from the specification (FOCUS 1.4, Cost and Usage: `dataset.md` and the page of
each column), not from the code.
"""

from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from usage_logs import correction, logs, usage

from cascadeflow.budgets.focus import FOCUS_VERSION, FocusSummary, export_focus
from cascadeflow.budgets.records import LogEvent, UsageEvent
from cascadeflow.budgets.reports import chargeback
from cascadeflow.errors import ConfigurationError


@dataclass(frozen=True)
class Rule:
    """What the specification says of one column."""

    level: Literal["mandatory", "recommended", "conditional"]
    kind: Literal["string", "decimal", "time", "json"]
    nullable: bool
    allowed: tuple[str, ...] = ()


AI = "AI and Machine Learning"
SPECIFICATION = {
    "BilledCost": Rule("mandatory", "decimal", False),
    "BillingAccountId": Rule("mandatory", "string", False),
    "BillingAccountName": Rule("mandatory", "string", True),
    "BillingCurrency": Rule("mandatory", "string", False, ("USD",)),
    "BillingPeriodEnd": Rule("mandatory", "time", False),
    "BillingPeriodStart": Rule("mandatory", "time", False),
    "ChargeCategory": Rule(
        "mandatory", "string", False, ("Usage", "Purchase", "Tax", "Credit", "Adjustment")
    ),
    "ChargeClass": Rule("mandatory", "string", True, ("Correction",)),
    "ChargeDescription": Rule("mandatory", "string", True),
    "ChargeFrequency": Rule(
        "recommended", "string", False, ("One-Time", "Recurring", "Usage-Based")
    ),
    "ChargePeriodEnd": Rule("mandatory", "time", False),
    "ChargePeriodStart": Rule("mandatory", "time", False),
    "ConsumedQuantity": Rule("conditional", "decimal", True),
    "ConsumedUnit": Rule("conditional", "string", True),
    "ContractedCost": Rule("mandatory", "decimal", False),
    "EffectiveCost": Rule("mandatory", "decimal", False),
    "HostProviderName": Rule("mandatory", "string", False),
    "InvoiceIssuerName": Rule("mandatory", "string", False),
    "ListCost": Rule("mandatory", "decimal", False),
    "PricingQuantity": Rule("mandatory", "decimal", True),
    "PricingUnit": Rule("mandatory", "string", True),
    "ResourceId": Rule("conditional", "string", True),
    "ResourceName": Rule("conditional", "string", True),
    "ResourceType": Rule("conditional", "string", True),
    "ServiceCategory": Rule("mandatory", "string", False, (AI,)),
    "ServiceName": Rule("mandatory", "string", False),
    "ServiceProviderName": Rule("mandatory", "string", False),
    "ServiceSubcategory": Rule(
        "recommended",
        "string",
        False,
        (
            *("AI Platforms", "Bots", "Generative AI", "Machine Learning"),
            *("Natural Language Processing", f"Other ({AI})"),
        ),
    ),
    "SkuId": Rule("conditional", "string", True),
    "SkuMeter": Rule("conditional", "string", True),
    "SkuPriceDetails": Rule("conditional", "json", True),
    "SkuPriceId": Rule("conditional", "string", True),
    "SubAccountId": Rule("conditional", "string", True),
    "SubAccountName": Rule("conditional", "string", True),
    "SubAccountType": Rule("conditional", "string", True),
    "Tags": Rule("conditional", "json", True),
}

# One is null exactly where the other is (their pages, "nullability requirements").
NULL_TOGETHER = [
    ("ConsumedUnit", "ConsumedQuantity"),
    ("PricingUnit", "PricingQuantity"),
    ("SubAccountName", "SubAccountId"),
    ("SubAccountType", "SubAccountId"),
    ("ResourceType", "ResourceId"),
]
NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?")
MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
UNIT = re.compile(r"([1-9][0-9]* )?[A-Z][A-Za-z]*s")


def moment(text: str) -> datetime:
    assert MOMENT.fullmatch(text), text
    return datetime.fromisoformat(text)


def hold_to_the_specification(header: list[str], rows: list[dict[str, str]]) -> None:
    """Fails where a file breaks a rule."""
    mandatory = {name for name, rule in SPECIFICATION.items() if rule.level == "mandatory"}
    assert len(mandatory) == 21
    assert mandatory <= set(header)
    assert len(set(header)) == len(header)
    for name in header:
        assert name in SPECIFICATION or re.fullmatch(r"x_[A-Z][A-Za-z]{1,47}", name), name
    for row in rows:
        for name, rule in SPECIFICATION.items():
            value = row[name]
            if value == "":
                assert rule.nullable, name
                continue
            assert value.strip(), name
            assert not rule.allowed or value in rule.allowed, (name, value)
            if rule.kind == "decimal":
                assert NUMBER.fullmatch(value), (name, value)
            elif rule.kind == "time":
                moment(value)
            elif rule.kind == "json":
                assert isinstance(json.loads(value), dict)
                assert len(json.loads(value)) > 0
        hold_a_row(row)


def hold_a_row(row: dict[str, str]) -> None:
    """The rules between columns."""
    for one, other in NULL_TOGETHER:
        assert (row[one] == "") == (row[other] == ""), (one, other)
    start, end = moment(row["ChargePeriodStart"]), moment(row["ChargePeriodEnd"])
    opens, closes = moment(row["BillingPeriodStart"]), moment(row["BillingPeriodEnd"])
    assert start < end
    assert opens < closes
    assert (opens.day, opens.hour, closes.day, closes.hour) == (1, 0, 1, 0)
    # A correction of a closed period is billed later; everything else in the period it lies in.
    if row["ChargeClass"] == "Correction":
        assert end <= opens
    else:
        assert opens <= start < end <= closes
    assert row["ChargeCategory"] == "Usage"
    if row["ChargeClass"] != "Correction":
        for name in ("ConsumedQuantity", "PricingQuantity", "SkuId", "SkuPriceId"):
            assert row[name], name
    # No charge here covers another, and no price was negotiated.
    assert row["BilledCost"] == row["EffectiveCost"] == row["ListCost"] == row["ContractedCost"]
    for name in ("ConsumedUnit", "PricingUnit"):
        assert UNIT.fullmatch(row[name]), row[name]
    assert row["ResourceName"] != row["ResourceId"]
    for key, value in json.loads(row["Tags"] or "{}").items():
        assert key
        assert value is True


def export(
    events: list[LogEvent], **more: Any
) -> tuple[FocusSummary, list[str], list[dict[str, str]]]:
    file = io.StringIO(newline="")
    summary = export_focus(events, file, **more)
    reader = csv.DictReader(io.StringIO(file.getvalue(), newline=""))
    rows = list(reader)
    assert reader.fieldnames is not None
    return summary, list(reader.fieldnames), rows


@given(logs())
def test_any_log_gives_a_file_that_keeps_the_rules(events: list[LogEvent]) -> None:
    summary, header, rows = export(events)
    hold_to_the_specification(header, rows)
    assert summary.rows == len(rows)


@settings(max_examples=40)
@given(logs())
def test_the_billed_costs_add_up_to_the_ledger_and_the_tokens_to_the_report(
    events: list[LogEvent],
) -> None:
    summary, _, rows = export(events)
    report = chargeback(events, by=[]).totals
    assert sum(Decimal(row["BilledCost"]) for row in rows) == report.cost
    assert (summary.nanodollars, summary.unknown_costs) == (
        report.nanodollars,
        report.unknown_costs,
    )
    if not report.unknown_costs:
        for column, tokens in (
            ("x_InputTokens", report.input_tokens),
            ("x_OutputTokens", report.output_tokens),
        ):
            assert sum(int(row[column] or 0) for row in rows) == tokens


@settings(max_examples=40)
@given(logs())
def test_an_ordered_log_gives_the_same_sums(events: list[LogEvent]) -> None:
    ordered = sorted(events, key=lambda event: event.at)
    assert export(ordered, ordered=True)[0] == export(events)[0]


def test_the_checks_notice_a_broken_rule() -> None:
    _, header, rows = export([usage(tags=("beta",))])
    hold_to_the_specification(header, rows)
    for broken in (
        {"BilledCost": ""},
        {"BilledCost": "1E-9"},
        {"BilledCost": "+1"},
        {"BillingCurrency": "usd"},
        {"ChargePeriodStart": "2026-10-20T00:00:00+00:00"},
        {"ChargeClass": "Correction"},
        {"ServiceSubcategory": "LLM"},
        {"ConsumedUnit": ""},
        {"ConsumedUnit": "tokens"},
        {"PricingQuantity": "", "PricingUnit": ""},
        {"Tags": "[]"},
        {"SubAccountName": ""},
        {"EffectiveCost": "0"},
    ):
        with pytest.raises(AssertionError):
            hold_to_the_specification(header, [rows[0] | broken])
    with pytest.raises(AssertionError):
        hold_to_the_specification([name for name in header if name != "ListCost"], rows)
    with pytest.raises(AssertionError):
        hold_to_the_specification([*header, "Model"], [rows[0] | {"Model": "m"}])


def test_a_row_says_who_and_what_and_how_much() -> None:
    event = usage(
        team="research",
        tags=("beta", "it's"),
        tier="pro",
        key="k1",
        nanodollars=1_234_567_891,
        input_tokens=100,
        output_tokens=20,
        role="draft",
        at=datetime(2026, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
    )
    _, _, (row,) = export([event], invoice_issuer="Example Ltd", billing_account="acc")
    assert row["BilledCost"] == "1.234567891"
    assert (row["SubAccountId"], row["SubAccountType"]) == ("u1", "User")
    assert (row["ResourceId"], row["ResourceName"]) == ("openai:gpt-5", "gpt-5")
    assert row["ServiceProviderName"] == "OpenAI"
    assert (row["InvoiceIssuerName"], row["BillingAccountId"]) == ("Example Ltd", "acc")
    assert (row["ConsumedQuantity"], row["ConsumedUnit"]) == ("120", "Tokens")
    assert row["ChargePeriodStart"] == "2026-12-31T23:00:00Z"
    assert row["BillingPeriodEnd"] == row["ChargePeriodEnd"] == "2027-01-01T00:00:00Z"
    assert json.loads(row["Tags"]) == {"beta": True, "it's": True}
    assert (row["x_TeamName"], row["x_TierName"], row["x_RoleName"]) == ("research", "pro", "draft")
    _, _, (row,) = export([event], sub_account="team")
    assert (row["SubAccountId"], row["SubAccountType"]) == ("research", "Team")


def test_a_correction_is_one_of_a_closed_month_only_when_it_came_in_a_later_one() -> None:
    first = usage(nanodollars=9_000, held=9_000, confirmed=False)
    soon = correction(first, 4_000, 10, after=timedelta(days=2))
    late = correction(first, 4_000, 10, after=timedelta(days=70))
    for event, charge_class, opens in (
        (soon, "", "2026-10-01T00:00:00Z"),
        (late, "Correction", "2026-12-01T00:00:00Z"),
    ):
        _, _, (original, row) = export([first, event])
        assert original["ChargeClass"] == ""
        assert (original["ConsumedQuantity"], original["ConsumedUnit"]) == ("1", "Requests")
        assert row["ChargeClass"] == charge_class
        assert row["BillingPeriodStart"] == opens
        assert row["ChargePeriodStart"] == original["ChargePeriodStart"]
        assert row["BilledCost"] == "-0.000005000"
        assert (row["ConsumedQuantity"], row["ConsumedUnit"]) == ("20", "Tokens")
        assert row["x_CorrectedEventId"] == first.event_id


def test_a_charge_of_unknown_cost_has_no_row_until_its_cost_is_known() -> None:
    first = usage(nanodollars=None, confirmed=False, input_tokens=5, output_tokens=6)
    summary, _, rows = export([first])
    assert (rows, summary.unknown_costs) == ([], 1)
    summary, _, (row,) = export([first, correction(first, 4_000, None)])
    assert (summary.rows, summary.unknown_costs) == (1, 0)
    assert row["BilledCost"] == "0.000004000"


def test_names_are_kept_exactly_as_they_are() -> None:
    names = ["=cmd()", ' a "b", c ', "two\nlines", "ü漢"]
    events: list[LogEvent] = [usage(number, user_id=name) for number, name in enumerate(names)]
    assert [row["SubAccountId"] for row in export(events)[2]] == names
    assert isinstance(events[0], UsageEvent)


def test_the_version_is_named_and_an_account_needs_a_name() -> None:
    assert export([])[0] == FocusSummary(
        version=FOCUS_VERSION, rows=0, unknown_costs=0, nanodollars=0
    )
    assert FOCUS_VERSION == "1.4"
    for name in ("billing_account", "invoice_issuer"):
        with pytest.raises(ConfigurationError, match=name):
            export([], **{name: " "})
