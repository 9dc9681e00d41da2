#compdef cluster
# Completion of the command cluster for zsh.

_cluster() {
	local also line
	local -a lines candidates
	lines=("${(@f)$("${(Q)words[1]}" __complete zsh "${(@Q)words[2,CURRENT]}" 2>/dev/null)}")
	also=$lines[1]
	for line in "${(@)lines[2,-1]}"; do
		[[ -n $line ]] && candidates+=("${${line%%$'\t'*}//:/\\:}:${line#*$'\t'}")
	done
	case $also in
	files) _files ;;
	directories) _files -/ ;;
	*) _describe 'cluster' candidates ;;
	esac
}

compdef _cluster cluster
