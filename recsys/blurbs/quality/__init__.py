"""How good the book's texts are: the gate on false ones, variety, reading, cost, and what people said."""
