"""What a request costs: exact integers from prices and tokens, rounded once."""

from typing import Final

from msgspec.structs import replace

from penstock.domain.models import Price
from penstock.domain.principal import ServiceTier
from penstock.domain.tokens import TokenCount
from penstock.domain.usage import UsageRecord

# Read once: on Python 3.11 looking an enum's member up costs more than the arithmetic below.
_PRIORITY: Final = ServiceTier.PRIORITY
_FLEX: Final = ServiceTier.FLEX
_PERCENT: Final = 100
_PER_MILLION: Final = 1_000_000
_DIVISOR: Final = _PER_MILLION * _PERCENT


def tier_percent(price: Price, tier: str) -> int:
    """The tier's price in percent of the default tier's. `scale` is capacity that was contracted: its tokens cost the default price."""
    if tier == _PRIORITY:
        return price.priority_percent
    if tier == _FLEX:
        return price.flex_percent
    return _PERCENT


def cost_micros(price: Price, tier: str, tokens: TokenCount, batch: bool = False) -> int:
    """Micro-units of the price's currency for one request at the tier that was served; `batch`: at the class batch, at any tier.

    `tokens.prompt` includes the cached ones and `tokens.completion` the reasoning ones, as in OpenAI's usage. The parts are summed
    exactly and rounded half up at the very end, so that a request's cost is never more than half a micro-unit off.
    """
    if not price.input_per_million and not price.output_per_million and not price.cached_input_per_million:
        return 0
    cached_price = price.input_per_million if price.cached_input_per_million is None else price.cached_input_per_million
    # An engine that reports more cached than prompt tokens must not earn a discount.
    cached = tokens.cached if tokens.cached < tokens.prompt else tokens.prompt
    exact = (tokens.prompt - cached) * price.input_per_million + cached * cached_price + tokens.completion * price.output_per_million
    percent = price.batch_percent if batch else tier_percent(price, tier)
    return (exact * percent + _DIVISOR // 2) // _DIVISOR


def repriced(record: UsageRecord, price: Price) -> UsageRecord:
    """The record with the cost of the tokens that it has: what a crash left says how many tokens were delivered, but not their cost."""
    count = TokenCount(record.prompt_tokens, record.completion_tokens, record.cached_tokens, record.reasoning_tokens)
    cost = cost_micros(price, record.service_tier, count, record.service_class == "batch")
    return replace(record, cost_micros=cost, currency=price.currency)
