"""Generic machinery: work queue, worker, dispatcher, rate limits, jobs; knows no vendor."""
