import pytest

# So that a failed assertion in a row of a table says as much as one in a test.
pytest.register_assert_rewrite("tests.access.attacks")
