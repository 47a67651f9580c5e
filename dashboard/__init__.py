"""The dashboard's pages and what they share; a client of the API that knows no model, no file and no bucket."""
