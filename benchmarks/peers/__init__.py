"""Other ways to take in a webhook, to be measured in the same run."""
