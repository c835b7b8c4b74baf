"""Commands that go to ThingsDB's rooms without a daemon."""
