"""How the property tests run: as many examples as by default, and with no demands on speed."""

from hypothesis import HealthCheck, settings

# A busy machine is no reason to fail: examples may take any time, and so may making them.
settings.register_profile("amphora", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True)
settings.load_profile("amphora")
