"""The fixtures that start real clusters, for every test below."""

pytest_plugins = ["tests.cluster.fixture"]
