"""RTO/ISO business transactions: products, offers, awards, baselines, settlement."""
