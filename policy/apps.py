from django.apps import AppConfig


class PolicyConfig(AppConfig):
    name = "policy"

    def ready(self) -> None:
        from policy.first import give_first_limits  # models are loaded only now
        from tenants import actions

        actions.begin_with(give_first_limits)
