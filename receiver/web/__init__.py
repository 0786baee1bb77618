"""HTTP: the webhooks, the API and the pages. Decides nothing; asks the engine and the store."""
