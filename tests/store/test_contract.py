"""Our store keeps the contract of stores, on every engine."""

import pytest

from agentprm import Store
from agentprm.testing.store import StoreContract


class TestStore(StoreContract):
    @pytest.fixture(autouse=True)
    def _at(self, url):
        self.url = url

    def make_store(self):
        return Store(self.url)

    def open_again(self):
        return Store(self.url)
