"""The search server: connections, access, uploads, and decoding of uploaded files in processes of their own."""
