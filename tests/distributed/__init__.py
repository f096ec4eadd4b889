"""Several nodes on one machine; ``make test-distributed`` runs these."""
