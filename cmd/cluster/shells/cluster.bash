# Completion of the command cluster for bash 4 and later.

_cluster() {
	local also line
	COMPREPLY=()
	{
		read -r also
		while read -r line; do
			COMPREPLY+=("${line%%$'\t'*}")
		done
	} < <("${COMP_WORDS[0]}" __complete bash "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
	case $also in
	files) compopt -o default ;;
	directories) compopt -o dirnames ;;
	esac
}

complete -F _cluster cluster
