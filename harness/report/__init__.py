"""What people see of a result: sections, and how a terminal and Markdown draw them."""
