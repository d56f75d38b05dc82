"""Everything that is shown: tables, documents, formats, pages."""
