"""The settings of a process: one frozen tree, read once at start; nothing else looks at the environment or a settings file.

Precedence: flags > environment > TOML file > defaults. In the environment a nested name is written with two underscores
(`PENSTOCK_ROUTING__EJECT_AFTER`), a list as JSON or with commas. `Settings()` alone is the defaults: only `load` looks around.
"""

from penstock.app.settings.load import CONFIG_NAME, CONFIG_VARIABLE, SettingsError, load
from penstock.app.settings.sections import (
    AdmissionSettings,
    ChaosSettings,
    ExplainSettings,
    FilesSettings,
    HttpSettings,
    LogSettings,
    RoutingSettings,
    RunnerSettings,
    SchedulingSettings,
    StreamSettings,
    UpstreamTimeouts,
    UsageSettings,
    WorkerSettings,
)
from penstock.app.settings.tree import ENVIRONMENT_PREFIX, Settings, default_data_dir
from penstock.app.settings.upstream import Upstreams, UpstreamSettings, parse_upstream

__all__ = [
    "CONFIG_NAME",
    "CONFIG_VARIABLE",
    "ENVIRONMENT_PREFIX",
    "AdmissionSettings",
    "ChaosSettings",
    "ExplainSettings",
    "FilesSettings",
    "HttpSettings",
    "LogSettings",
    "RoutingSettings",
    "RunnerSettings",
    "SchedulingSettings",
    "Settings",
    "SettingsError",
    "StreamSettings",
    "UpstreamSettings",
    "UpstreamTimeouts",
    "Upstreams",
    "UsageSettings",
    "WorkerSettings",
    "default_data_dir",
    "load",
    "parse_upstream",
]
