"""The words that processes exchange: ``wire`` frames bytes, ``work`` daemon⇄children, ``control`` client⇄daemon."""
