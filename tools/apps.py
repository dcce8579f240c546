from django.apps import AppConfig

from access import unlocks


class ToolsConfig(AppConfig):
    name = "tools"

    def ready(self) -> None:
        from tools.unlocks import unlocked  # models are loaded only now

        unlocks.register(unlocked)
