"""What a rule refuses somebody, what they ask for, and what is answered."""
