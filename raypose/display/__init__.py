"""What a person sees: live screens, tables, words, pictures and pages."""
