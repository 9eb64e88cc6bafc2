"""glTF 2.0 (ISO/IEC 12113), read as its specification says; `v2m4.export` writes it."""
