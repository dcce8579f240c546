from django.apps import AppConfig

from tools import known


class JobsConfig(AppConfig):
    name = "jobs"

    def ready(self) -> None:
        known.register("SELECT secret FROM jobs_hook WHERE tenant_id = %s")
