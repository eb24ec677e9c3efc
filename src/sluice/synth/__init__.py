"""Made-up sessions with known truth. Shares no code with the steps it tests."""
