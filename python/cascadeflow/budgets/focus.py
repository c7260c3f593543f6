"""The usage log as FOCUS 1.4: the FinOps Open Cost and Usage Specification, Cost and Usage data.

FOCUS is what cloud providers and FinOps tools exchange bills in (https://focus.finops.org; 1.4 was
announced in June 2026). The export holds all of its mandatory columns and those of the conditional
and recommended ones for which the log has values; ours begin with `x_`. What is written is the
charge as this package's operator passes it on to users and teams, so the invoice issuer is the
operator (`invoice_issuer`), and a sum over this export and the provider's own bill counts twice.

How the log meets the specification:

- One row a charge; the charge period is the UTC hour in which its request began, the billing period
  the UTC month.
- A correction is a row of its own with the difference. Its charge period is the corrected charge's.
  When it was logged in a later month, the corrected month is closed: it belongs to the month in
  which it was logged, with `ChargeClass` "Correction"; else `ChargeClass` is null, as FOCUS asks.
- A charge whose cost is not known has no row: FOCUS knows no unknown cost, and zero would be wrong.
  `FocusSummary.unknown_costs` counts them.
- Quantities are tokens, in and out together, or where the tokens are not known, one request.
- The log knows what was charged, not what a price list said: the list cost and the contracted cost
  are the billed cost, and there are no unit prices.
"""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from datetime import UTC, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Final, Literal

from cascadeflow.budgets.exports import usd_text
from cascadeflow.budgets.log_reading import Entry, LogReader
from cascadeflow.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime
    from typing import TextIO

    from cascadeflow.budgets.records import LogEvent, UsageEvent

__all__ = ["FOCUS_COLUMNS", "FOCUS_VERSION", "FocusSummary", "export_focus"]

FOCUS_VERSION: Final = "1.4"

FOCUS_COLUMNS: Final = (
    "BilledCost",
    "BillingAccountId",
    "BillingAccountName",
    "BillingCurrency",
    "BillingPeriodEnd",
    "BillingPeriodStart",
    "ChargeCategory",
    "ChargeClass",
    "ChargeDescription",
    "ChargeFrequency",
    "ChargePeriodEnd",
    "ChargePeriodStart",
    "ConsumedQuantity",
    "ConsumedUnit",
    "ContractedCost",
    "EffectiveCost",
    "HostProviderName",
    "InvoiceIssuerName",
    "ListCost",
    "PricingQuantity",
    "PricingUnit",
    "ResourceId",
    "ResourceName",
    "ResourceType",
    "ServiceCategory",
    "ServiceName",
    "ServiceProviderName",
    "ServiceSubcategory",
    "SkuId",
    "SkuMeter",
    "SkuPriceDetails",
    "SkuPriceId",
    "SubAccountId",
    "SubAccountName",
    "SubAccountType",
    "Tags",
    "x_CorrectedEventId",
    "x_CostConfirmed",
    "x_EstimatedCost",
    "x_EventId",
    "x_HeldCost",
    "x_InputTokens",
    "x_KeyName",
    "x_OutputTokens",
    "x_PriceDate",
    "x_PriceSourceName",
    "x_RequestId",
    "x_RequestedAt",
    "x_ResponseId",
    "x_RoleName",
    "x_TeamName",
    "x_TierName",
    "x_UserId",
)
"""The columns of an export, in order; those that begin with `x_` are this package's own."""

_PROVIDERS: Final = {
    "anthropic": "Anthropic",
    "azure": "Microsoft Azure",
    "cerebras": "Cerebras",
    "deepseek": "DeepSeek",
    "fireworks": "Fireworks AI",
    "groq": "Groq",
    "huggingface": "Hugging Face",
    "mistral": "Mistral AI",
    "openai": "OpenAI",
    "openrouter": "OpenRouter",
    "perplexity": "Perplexity",
    "together": "Together AI",
    "xai": "xAI",
}
"""Display names; any other provider is named by its id."""

_HOUR: Final = timedelta(hours=1)
_LONGEST_MONTH_AND_MORE: Final = timedelta(days=32)


@dataclass(frozen=True, slots=True, kw_only=True)
class FocusSummary:
    """What an export holds.

    Attributes:
        version: of the specification.
        rows: how many charges were written.
        unknown_costs: how many were left out because their cost is not known.
        nanodollars: the sum of `BilledCost`.
    """

    version: str
    rows: int
    unknown_costs: int
    nanodollars: int


def export_focus(
    events: Iterable[LogEvent],
    file: TextIO,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    ordered: bool = False,
    sub_account: Literal["user", "team"] = "user",
    billing_account: str = "cascadeflow",
    billing_account_name: str | None = None,
    invoice_issuer: str = "CascadeFlow",
) -> FocusSummary:
    """Writes the charges as FOCUS 1.4 in CSV; an empty field is null.

    Args:
        events: the usage log; it is read once and not kept.
        file: open for writing, with `newline=""` and UTF-8.
        since: only requests that began then or later.
        until: only requests that began before.
        ordered: the events come by `at`, oldest first; then memory does not grow with their number.
        sub_account: whether `SubAccountId` is the user or the team.
        billing_account: `BillingAccountId`: the account that pays.
        billing_account_name: `BillingAccountName`, or none.
        invoice_issuer: `InvoiceIssuerName`: who passes these costs on, such as your company.

    Raises:
        ConfigurationError: the billing account or the issuer is empty.
    """
    for name, value in (("billing_account", billing_account), ("invoice_issuer", invoice_issuer)):
        if not value.strip():
            raise ConfigurationError(f"FOCUS needs a {name}: name the account, or your company")
    writer = csv.writer(file)
    writer.writerow(FOCUS_COLUMNS)
    reader = LogReader(since=since, until=until, ordered=ordered)
    # The tokens of charges without a row, by event id: their corrections' rows carry them.
    left_out: dict[str, tuple[int, int]] = {}
    rows = unknown = nanodollars = 0
    for entry in reader.entries(events):
        event = entry.event
        unknown += entry.unknown_costs
        if event.charge.nanodollars is None:
            left_out[event.event_id] = (entry.input_tokens or 0, entry.output_tokens or 0)
            continue
        tokens = left_out.pop(event.corrects, (0, 0)) if event.corrects else (0, 0)
        values = {
            **_times(event),
            **_costs(event),
            **_quantities(entry, *tokens),
            **_model(event.charge.model),
            **_spender(event, sub_account),
            **_own(entry, *tokens),
        }
        values["BillingAccountId"] = billing_account
        values["BillingAccountName"] = billing_account_name or None
        values["InvoiceIssuerName"] = invoice_issuer
        values["ChargeDescription"] = _description(entry)
        writer.writerow([values[column] for column in FOCUS_COLUMNS])
        rows += 1
        nanodollars += event.booked
    return FocusSummary(
        version=FOCUS_VERSION, rows=rows, unknown_costs=unknown, nanodollars=nanodollars
    )


_Values = dict[str, str | int | None]


def _times(event: UsageEvent) -> _Values:
    """The charge period, and the billing period, which for a late correction is a later one."""
    hour = event.at.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    logged = None if event.corrects is None else event.logged_at.astimezone(UTC)
    return _periods(hour, None if logged is None else (logged.year, logged.month))


@lru_cache(maxsize=4096)
def _periods(hour: datetime, corrected_in: tuple[int, int] | None) -> _Values:
    month = hour.replace(day=1, hour=0)
    charge_class = None
    if corrected_in is not None and corrected_in > (month.year, month.month):
        month = month.replace(year=corrected_in[0], month=corrected_in[1])
        charge_class = "Correction"
    following = (month + _LONGEST_MONTH_AND_MORE).replace(day=1)
    return {
        "BillingPeriodStart": _moment(month),
        "BillingPeriodEnd": _moment(following),
        "ChargeCategory": "Usage",
        "ChargeClass": charge_class,
        "ChargeFrequency": "Usage-Based",
        "ChargePeriodStart": _moment(hour),
        "ChargePeriodEnd": _moment(hour + _HOUR),
    }


def _costs(event: UsageEvent) -> _Values:
    cost = usd_text(event.booked)
    return {
        "BilledCost": cost,
        "BillingCurrency": "USD",
        "ContractedCost": cost,
        "EffectiveCost": cost,
        "ListCost": cost,
    }


def _quantities(entry: Entry, more_input: int, more_output: int) -> _Values:
    """Tokens where they are known, else requests; a correction of unknown tokens adds none."""
    if entry.input_tokens is None or entry.output_tokens is None:
        quantity, unit = entry.calls, "Requests"
    else:
        quantity = entry.input_tokens + more_input + entry.output_tokens + more_output
        unit = "Tokens"
    return {
        "ConsumedQuantity": quantity,
        "ConsumedUnit": unit,
        "PricingQuantity": quantity,
        "PricingUnit": unit,
    }


@lru_cache(maxsize=1024)
def _model(model: str) -> _Values:
    provider, colon, name = model.partition(":")
    shown = _PROVIDERS.get(provider, provider) if colon and provider else "Unknown"
    return {
        "HostProviderName": shown,
        "ResourceId": model,
        "ResourceName": name or None,
        "ResourceType": "Model",
        "ServiceCategory": "AI and Machine Learning",
        "ServiceName": f"{shown} Model Inference",
        "ServiceProviderName": shown,
        "ServiceSubcategory": "Generative AI",
        "SkuId": model,
        "SkuMeter": "Model Inference",
        "SkuPriceId": model,
        "SkuPriceDetails": None,
    }


def _spender(event: UsageEvent, sub_account: Literal["user", "team"]) -> _Values:
    spender = event.spender
    account = (spender.user_id if sub_account == "user" else spender.team) or None
    tags = {tag: True for tag in spender.tags if tag}
    return {
        "SubAccountId": account,
        "SubAccountName": account,
        "SubAccountType": None if account is None else sub_account.title(),
        "Tags": json.dumps(tags, separators=(",", ":")) if tags else None,
        "x_KeyName": spender.key or None,
        "x_TeamName": spender.team or None,
        "x_TierName": spender.tier or None,
        "x_UserId": spender.user_id or None,
    }


def _own(entry: Entry, more_input: int, more_output: int) -> _Values:
    event = entry.event
    charge = event.charge
    return {
        "x_CorrectedEventId": event.corrects,
        "x_CostConfirmed": "true" if charge.confirmed else "false",
        "x_EstimatedCost": None if charge.estimate is None else usd_text(charge.estimate),
        "x_EventId": event.event_id,
        "x_HeldCost": usd_text(charge.held),
        "x_InputTokens": None if entry.input_tokens is None else entry.input_tokens + more_input,
        "x_OutputTokens": (
            None if entry.output_tokens is None else entry.output_tokens + more_output
        ),
        "x_PriceDate": charge.price_date,
        "x_PriceSourceName": charge.price_source,
        "x_RequestId": event.request_id,
        "x_RequestedAt": _moment(event.at),
        "x_ResponseId": charge.response_id,
        "x_RoleName": charge.role,
    }


def _description(entry: Entry) -> str:
    event = entry.event
    charge = event.charge
    usd = _short(charge.nanodollars or 0)
    if event.corrects is not None:
        was = _short(event.corrected_nanodollars)
        return f"Correction of a call of {charge.model} ({charge.role}): {usd} in place of {was}"
    text = f"Call of {charge.model} ({charge.role}): {usd}"
    return text if charge.confirmed else f"{text}, unconfirmed: booked at what was held for it"


def _moment(moment: datetime) -> str:
    """ISO 8601 in UTC, to the second, as FOCUS has it."""
    return f"{moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec='seconds')}Z"


def _short(nanodollars: int) -> str:
    """Exact dollars without needless zeros."""
    return f"{usd_text(nanodollars).rstrip('0').rstrip('.')} USD"
