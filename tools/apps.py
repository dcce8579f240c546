from django.apps import AppConfig

from access import unlocks


class ToolsConfig(AppConfig):
    name = "tools"

    def ready(self) -> None:
        from tools.unlocks import changed, unlocked  # models are loaded only now

        unlocks.register(unlocked, changed)
