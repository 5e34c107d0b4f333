"""How many examples hypothesis tries: as many as are worth their time in every run, more in a thorough one."""

from hypothesis import HealthCheck, settings


def examples(usual: int) -> settings:
    """Settings for `usual` examples, multiplied as the profile multiplies hypothesis' own hundred."""
    return settings(
        max_examples=max(1, usual * settings.default.max_examples // 100),
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
    )
