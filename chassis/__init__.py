"""What any Tollhouse service needs and no payment word appears in."""
