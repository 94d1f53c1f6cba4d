"""What is kept, in PostgreSQL and in Redis. No bar logic."""
