"""Search server: connections, access control, uploads, and decoding of uploaded files in separate processes."""
