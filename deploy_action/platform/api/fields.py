"""The fields of the API's requests: what they mean, and when they have to be given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum, auto
from typing import Final, Self

from deploy_action.records import dataclass, replace

KEY_HEADER: Final = "Idempotency-Key"  # draft-ietf-httpapi-idempotency-key-header
NOW_HEADER: Final = "Backtest-Now"
# Of the events API; the client `slate` writes them with underscores.
MODEL_HEADER: Final = "model_id"
KEY_ID_HEADER: Final = "api_key"
PASS_HEADER: Final = "api_pass"  # noqa: S105  # the name of a header
TIME_HEADER: Final = "time"
MAX_ID_LENGTH: Final = 200  # longer ids come from broken clients
# The package needs 3.7; 3.1 is how 3.10 arrives that was written as a number.
PYTHON_PATTERN: Final = r"3\.([7-9]|[1-9][0-9])(\.[0-9]{1,2})?"
LONGEST_DEPLOYER: Final = 100  # in characters
LONGEST_RUN_URL: Final = 500
LARGEST_TESTED: Final = 16_384  # in bytes of JSON
USUALLY_LISTED: Final = 100  # of the backtests and of the versions of a model
MOST_WINDOWS: Final = 100  # of a backtest
NUMBER_PATTERN: Final = r"[0-9]{0,5}"
# Blank, or printable ASCII: a scheme that browsers open as a page, a host, no user's name.
RUN_URL_PATTERN: Final = r"(https?://[0-9A-Za-z._:\[\]-]+(/[!-~]*)?)?"


class Needed(Enum):
    """When a field has to be given; an empty text is given."""

    ALWAYS = auto()
    UNLESS_CREATED = auto()  # not where `createNew` asks for a new model
    NEVER = auto()


class Kind(Enum):
    """What a field holds."""

    TEXT = auto()
    IDENTIFIER = auto()
    MODEL_TYPE = auto()
    ARGUMENTS = auto()
    ENVIRONMENT = auto()
    PYTHON = auto()
    MOMENT = auto()
    DEPLOYER = auto()
    RUN_URL = auto()
    TESTED = auto()
    NUMBER = auto()  # or blank
    ANY = auto()


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a request."""

    name: str
    description: str
    needed: Needed = Needed.ALWAYS
    kind: Kind = Kind.TEXT

    def optional(self) -> Self:
        """Return the field for a route that does without it."""
        return replace(self, needed=Needed.NEVER)

    def unless_created(self) -> Self:
        """Return the field for a route that may create the model."""
        return replace(self, needed=Needed.UNLESS_CREATED)


REFRESH_TOKEN = Field("refreshToken", "The secret that the platform was started with.")
PROJECT = Field(
    "projectId", "A project's id; the user's id for the personal project.", kind=Kind.IDENTIFIER
)
MODEL = Field("modelId", "A model's id, unique within its project.", kind=Kind.IDENTIFIER)
VERSION = Field("versionId", "The id of a version of the model.", kind=Kind.IDENTIFIER)
TESTED_VERSION = replace(
    VERSION,
    description="A version of the model to backtest, in place of the file: one of the two has to be"
    " given. `pythonVersion` has to be the version's. It has its own variables, unless"
    " `environment` is given.",
).optional()
EPHEMERAL = Field(
    "ephemeral",
    "`true`: the backtest is not kept, nor listed. Its result is in the answer alone.",
).optional()
WINDOW_FIELDS: Final = (
    Field(
        "windowOf",
        "The id of a backtest of the whole period, of the same `versionId`: this one is of a window"
        " of it. It is kept as a part of that one, and a window that is asked for again replaces"
        " what there was of it.",
    ).optional(),
    Field("window", "The name of the window; needed with `windowOf`.").optional(),
    Field(
        "windowNumber",
        f"Which window it is, from 1 to {MOST_WINDOWS}; needed with `windowOf`.",
        Needed.NEVER,
        Kind.NUMBER,
    ),
    Field(
        "windows",
        "Of a backtest of the whole period: how many windows its run is going to ask for.",
        Needed.NEVER,
        Kind.NUMBER,
    ),
    Field(
        "combinations",
        "How many combinations of values the run tests beside it, which are not kept here.",
        Needed.NEVER,
        Kind.NUMBER,
    ),
)
BACKTEST = Field(
    "backtestId",
    "The backtest whose result is wanted, however large. It is listed, however old.",
).optional()
LISTED_WINDOWS = Field(
    "windowOf", "A backtest: its windows are listed in place of backtests of whole periods."
).optional()
MOST_BACKTESTS = Field(
    "backtests",
    f"How many backtests are listed, the newest, {USUALLY_LISTED} if it is absent.",
    Needed.NEVER,
    Kind.NUMBER,
)
MOST_VERSIONS = Field(
    "versions",
    f"How many versions are listed, the newest, {USUALLY_LISTED} if it is absent.",
    Needed.NEVER,
    Kind.NUMBER,
)
LISTED_VERSION = Field("versionId", "A version that is listed, however old.").optional()
NAME = Field("name", "A name for people.")
DESCRIPTION = Field("description", "A description for people.")
PLAN_TYPE = Field("type", "Which plans: `live` or `backtesting`.")
TYPE = Field("type", "The model's type.", kind=Kind.MODEL_TYPE)
PLAN = Field("plan", "The name of a plan. Backtests ignore it.")
PYTHON = Field("pythonVersion", "The Python version the model runs on, such as `3.10`.")
LIVE_PYTHON = replace(PYTHON, kind=Kind.PYTHON)
SCHEDULE = Field(
    "schedule", "When a screener runs, as a cron expression in UTC; needed for a screener."
).optional()
CREATE_NEW = Field(
    "createNew", "`true` creates the model, where `modelId` is absent or empty."
).optional()
GENERAL_DESCRIPTION = Field("generalDescription", "The description of a new model.").optional()
VERSION_DESCRIPTION = Field("versionDescription", "The description of the version.")
BACKTEST_DESCRIPTION = Field("backtestDescription", "The description of the backtest.")
AUTOGENERATED = Field("autogenerated", "Whether a program asks for the key: `true` or `false`.")
PRICE_SCOPE = Field(
    "priceScope",
    "A pull request or branch. The prices that its backtests download are kept for it alone.",
).optional()
LINES = Field("lines", "How many of the last lines come first, 100 if it is absent.").optional()
FOLLOW = Field("follow", "`true`: the answer goes on with each new line.").optional()
AFTER = Field("after", "A position: only the lines after it come, whatever `lines` is.").optional()
POSITIONS = Field("positions", "`true`: each line begins with its position.").optional()
ARGUMENTS = Field(
    "backtestArgs",
    "The arguments of `Strategy.backtest()`: a JSON object, or its text.",
    Needed.NEVER,
    Kind.ARGUMENTS,
)
ARGUMENTS_TOO = Field(
    "backtestingArgs",
    "Another name of `backtestArgs`: one of the two has to be given.",
    Needed.NEVER,
    Kind.ARGUMENTS,
)
ENVIRONMENT = Field(
    "environment",
    "Variables for the model's process: a JSON object of texts, or its text. No answer shows a "
    "value. Names such as BACKTESTING…, BLANKLY_…, PYTHONPATH, INPUT_… and GITHUB_… are refused.",
    Needed.NEVER,
    Kind.ENVIRONMENT,
)
ORDER_FIELDS = (
    Field("symbol", "What is traded, such as `BTC-USD`."),
    Field("id", "The order's id, as the exchange gave it."),
    Field("side", "`buy` or `sell`."),
    Field("exchange", "The exchange, such as `alpaca`."),
    Field("size", "How much of the base asset; this or `funds` is needed.").optional(),
    Field("funds", "How much of the quote asset.").optional(),
    Field("status", "Such as `open`, `filled` or `canceled`.").optional(),
    Field("annotation", "A note for people.").optional(),
    Field("test_account", "`true` at an account for tests, in which no real money is.").optional(),
    Field("executed_time", "When it was filled.").optional(),
    Field("canceled_time", "When it was canceled.").optional(),
)
_PRICE = Field("price", "The price of the base asset: a limit, or of a market order the fill's.")
_ACTIVATE = Field("activate", "The price at which a stop order becomes active.")
_ORDER_ID = ORDER_FIELDS[1]
_BACKTEST_ID = Field("backtest_id", "The id of the backtest, which the client makes up.")
_LOG = (Field("line", "The line."), Field("type", "The stream, such as `stdout`."))
EVENT_FIELDS: Final[Mapping[str, Sequence[Field]]] = {
    "live/spot-market": (*ORDER_FIELDS, _PRICE.optional()),
    "live/spot-limit": (*ORDER_FIELDS, _PRICE, _ACTIVATE.optional()),
    "live/spot-stop": (*ORDER_FIELDS, _PRICE.optional(), _ACTIVATE.optional()),
    "live/update-trade": (
        _ORDER_ID,
        Field("type", "`market`, `limit` or `stop`.").optional(),
        *(each.optional() for each in (*ORDER_FIELDS, _PRICE, _ACTIVATE) if each is not _ORDER_ID),
    ),
    "live/update-annotation": (_ORDER_ID, Field("annotation", "A note for people.")),
    "live/event": (
        Field("type", "What happened, such as `order`."),
        Field("args", "The arguments of the call.", Needed.NEVER, Kind.ANY),
        Field("response", "What the call returned.", Needed.NEVER, Kind.ANY),
        Field("annotation", "A note for people.").optional(),
    ),
    "live/screener-result": (Field("result", "The result.", kind=Kind.ANY),),
    "live/log": _LOG,
    "live/variable": (
        Field("name", "The variable's name; a later value replaces the one before."),
        Field("value", "The value.", Needed.NEVER, Kind.ANY),
        Field("description", "What it is.").optional(),
    ),
    "live/set-custom-metric": (
        Field("metrics", "An object: of each metric's name `value`, `display_name`, `type`.",
              kind=Kind.ANY),
    ),
    "live/set-pnl": (Field("values", "A list of objects with `time` and `value`.", kind=Kind.ANY),),
    "live/auto-pnl": (Field("enabled", "Whether profit is computed from the orders."),),
    "model/used-exchange": (Field("exchange", "An exchange that the model uses."),),
    "model/used-symbol": (Field("symbol", "A symbol that the model uses."),),
    "model/lifecycle": (
        Field("message", "The state in a few words.").optional(),
        Field("start_at", "When it began.").optional(),
        Field("end_at", "When it ended.").optional(),
        Field("running", "`true` or `false`.").optional(),
    ),
    "backtest/result": (
        _BACKTEST_ID,
        *(
            Field(name, "As in the result of a backtest here.", Needed.NEVER, Kind.ANY)
            for name in (
                *("symbols", "quote_asset", "start_time", "stop_time", "account_values", "trades"),
                *("exchange", "metrics", "indicators"),
                *("initial_account_value", "final_account_value"),
            )
        ),
    ),
    "backtest/status": (
        _BACKTEST_ID,
        Field("successful", "`true` or `false`.").optional(),
        Field("status_summary", "What came of it, in a few words.").optional(),
        Field("status_details", "The same in more words.").optional(),
        Field("time_elapsed", "How long it took, in seconds.").optional(),
        Field("description", "A description for people.").optional(),
        Field("label", "A few words for a list.").optional(),
    ),
    "backtest/log": (*_LOG, _BACKTEST_ID.optional()),
}  # fmt: skip
COMMIT = Field("commit", "The commit that the model was made from.").optional()
COMMITTED_AT = Field(
    "committedAt", "When it was committed, in ISO 8601 with a time zone.", Needed.NEVER, Kind.MOMENT
)
COMMIT_REPOSITORY = Field(
    "commitRepository",
    "The repository of the commit. Of the same one, a commit that is older than that of the current"
    " version is refused.",
).optional()
DEPLOYED_BY = Field(
    "deployedBy",
    "Who deploys this, such as an account at a forge. It is shown, and not checked.",
    Needed.NEVER,
    Kind.DEPLOYER,
)
RUN_URL = Field(
    "runUrl",
    "The page of the workflow's run that deploys this. It is shown, and not checked.",
    Needed.NEVER,
    Kind.RUN_URL,
)
TESTED = Field(
    "tested",
    "Figures of a backtest that was run elsewhere before this deploy: a JSON object, or its text."
    " They are shown as what the client says, and not checked.",
    Needed.NEVER,
    Kind.TESTED,
)
ALLOW_OLDER = Field("allowOlder", "`true` deploys an older commit all the same.").optional()
UNCHANGED = Field(
    "unchanged",
    "`skip` deploys nothing where a version with the same bytes, settings and variables runs.",
).optional()
TOKEN = Field("tokenId", "The id of a key, as `/project/list-tokens` has it.")
